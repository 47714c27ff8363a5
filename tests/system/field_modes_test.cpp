// Every field of the request in every mode, against the checked-in table
// field_modes.json: what works has the effect that the probe reads back, what
// does not says so in the documented way.
//
// A row is a field of the published schema (config/request.schema.json):
//   set      what the request gains; strings with $ are filled in, see fill()
//   on       the profile it is set on; none if absent
//   act      arguments of the probe; its report if absent
//   fds      what is passed along, see open_passed()
//   read     what is looked at: report:/POINTER, descriptor:N:/POINTER,
//            verdict:/POINTER, stdout, output:STREAM, or file:PATH
//   expect   its value, or {"not": VALUE}, or {"has": TEXT}
//   rule     what refuses it where it is Denied, cloister-refusals(7); any if absent
//   root user rootless private: works | Unsupported | Denied | kept from caller |
//            the errno of the step that the kernel refused
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "build_paths.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

// The leaves of a JSON Schema as paths: members by dots, elements by [], the
// values of a map by .*; how a string may be spelled is no field of its own.
void leaves(const Json& schema, const std::string& path, std::set<std::string>& out) {
  if (schema.contains("oneOf")) {
    for (const auto& one : schema["oneOf"]) leaves(one, path, out);
  } else if (schema.contains("properties")) {
    for (const auto& [name, member] : schema["properties"].items()) {
      leaves(member, path + (path.empty() ? "" : ".") + name, out);
    }
    if (schema["properties"].empty()) out.insert(path);
  } else if (schema.contains("items")) {
    leaves(schema["items"], path + "[]", out);
  } else if (schema.contains("additionalProperties") &&
             schema["additionalProperties"].is_object()) {
    leaves(schema["additionalProperties"], path + ".*", out);
  } else if (!path.ends_with(".base64") || path == "stdin.base64" ||
             path == "mounts[].file.base64") {
    out.insert(path);
  }
}

// One run of one row.
class Trial {
 public:
  Trial(Way way, const Json& row) : world_(World::get()), way_(way), row_(row) {}

  std::string outcome() {
    directory_ = world_.directory_of(world_.who(way_));
    write_file(directory_ + "/input", "from a file", 0644);
    for (const char* name : {"/upper", "/work"}) {
      const std::string path = directory_ + name;
      check(mkdir(path.c_str(), 0755), "mkdir");
      check(chown(path.c_str(), world_.who(way_).uid, world_.who(way_).gid), "chown");
    }
    Client client = world_.connect(way_);
    Json request =
        row_.value("on", "none") == "default" ? world_.boxed_request() : world_.probe_request();
    std::vector<int> fds;
    for (const auto& name : row_.value("fds", Json::array())) fds.push_back(open_passed(name));
    const Fd report = memory_file();
    if (row_.contains("act")) {
      request["argv"] = {"probe"};
      for (const auto& word : row_["act"]) request["argv"].push_back(fill(word));
    } else {
      // By a descriptor of its own, so that standard output can be a subject too.
      request["argv"] = {"probe", "report", "9"};
      request["file_actions"] = {{{"receive", {{"passed_fd", fds.size()}, {"fd", 9}}}}};
      fds.push_back(report.get());
    }
    merge(request, fill(row_["set"]));
    std::string job;
    if (row_["set"].dump().find("$JOB") != std::string::npos) job = job_of(client);
    if (!job.empty()) request = Json::parse(replaced(request.dump(), "$JOB", job));

    Outcome outcome = client.run(request, fds);
    told_ = outcome.told();
    if (!job.empty()) {
      client.call("Stop", {{"id", job}, {"timeout", "0s"}});
      client.call("Remove", {{"id", job}});
    }
    if (outcome.error == "InvalidRequest") {
      const std::string reason = outcome.parameters["reason"];
      return reason.find("profile") != std::string::npos ? "kept from caller" : "InvalidRequest";
    }
    if (outcome.error == "Denied") CHECK(row_.value("rule", rule_of(outcome)) == rule_of(outcome));
    if (!outcome.error.empty()) return outcome.error;
    if (outcome.verdict["ending"] == "not_started") {
      return outcome.verdict["failure"]["errno_name"].get<std::string>();
    }
    const std::string read = fill(row_["read"]);
    Json seen = read.starts_with("output:") ? Json(kept_of(client, outcome, read.substr(7)))
                                            : look(read, outcome, content_of(report.get()));
    Json expected = fill(row_["expect"]);
    return matches(seen, expected) ? "works" : "without effect: " + read + " is " + seen.dump();
  }

  const std::string& told() const { return told_; }

 private:
  static std::string rule_of(const Outcome& outcome) {
    return outcome.parameters.value("rule", "");
  }

  static bool matches(const Json& seen, const Json& expected) {
    if (!expected.is_object()) return seen == expected;
    if (expected.contains("not")) return !seen.is_null() && seen != expected["not"];
    if (expected.contains("has")) {
      return seen.is_string() &&
             seen.get<std::string>().find(expected["has"].get<std::string>()) != std::string::npos;
    }
    return seen == expected;
  }

  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    for (size_t at; (at = text.find(from)) != text.npos;) text.replace(at, from.size(), to);
    return text;
  }

  // $DIR a directory of the caller's; $UID $GID its ids; $OTHER another user's
  // uid; $USER its name; $HOST_NET and the like the test's own namespaces.
  Json fill(const Json& value) const {
    const Who& who = world_.who(way_);
    if (value == "$UID") return who.uid;
    if (value == "$GID") return who.gid;
    if (value == "$OTHER") return world_.bob().uid;
    if (value.is_string() && value.get_ref<const std::string&>().starts_with("$HOST_")) {
      return own_namespace(value.get<std::string>().substr(6));
    }
    std::string text = value.dump();
    text = replaced(text, "$DIR", directory_);
    text = replaced(text, "$USER", world_.name_of(who));
    text = replaced(text, "$BIN", world_.directory() + "/bin");
    Json filled = Json::parse(text);
    if (filled.is_structured()) {
      for (auto& member : filled) member = fill(member);
    }
    return filled;
  }

  // Lists are appended to, all else is replaced.
  static void merge(Json& request, const Json& set) {
    for (const auto& [name, value] : set.items()) {
      if (request.contains(name) && request[name].is_array() && name != "argv") {
        for (const auto& element : value) request[name].push_back(element);
      } else if (request.contains(name) && request[name].is_object() && value.is_object()) {
        merge(request[name], value);
      } else {
        request[name] = value;
      }
    }
  }

  int open_passed(const std::string& name) {
    if (name == "file") {
      passed_.push_back(memory_file("passed along"));
    } else if (name == "probe") {
      passed_.emplace_back(check(open(world_.probe().c_str(), O_RDONLY | O_CLOEXEC), "open"));
    } else if (name == "directory") {
      passed_.emplace_back(
          check(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
    } else if (name == "terminal") {
      master_ = Fd(check(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt"));
      check(grantpt(master_.get()), "grantpt");
      check(unlockpt(master_.get()), "unlockpt");
      const std::string slave = ptsname(master_.get());
      check(chown(slave.c_str(), world_.who(way_).uid, world_.who(way_).gid), "chown");
      passed_.emplace_back(check(open(slave.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC), "open"));
    } else {
      const std::string path = "/proc/self/ns/" + name;
      passed_.emplace_back(check(open(path.c_str(), O_RDONLY | O_CLOEXEC), "open"));
    }
    return passed_.back().get();
  }

  // A job of the same caller whose namespaces can be joined.
  std::string job_of(Client& client) const {
    Json request = world_.boxed_request({"hold"});
    request["namespaces"] = {{"time", "new"}};
    // Rootless, what is made before the user namespace that was asked for belongs to another.
    if (row_["set"]["namespaces"].contains("user")) request["namespaces"]["user"] = "new";
    Reply reply = client.call("Start", {{"request", request}});
    INFO(reply.parameters.dump());
    REQUIRE(reply.error == "");
    return reply.parameters["id"];
  }

  // Of a job with a key, which is kept after its end.
  static std::string kept_of(Client& client, Outcome& outcome, const std::string& stream) {
    Reply reply = client.call("Output", {{"id", outcome.verdict["id"]}, {"stream", stream}});
    REQUIRE(reply.error == "");
    return from_base64(reply.parameters["data"]);
  }

  static Json look(const std::string& read, const Outcome& outcome, const std::string& report) {
    if (read == "stdout") return outcome.out;
    if (read.starts_with("file:")) return read_file(read.substr(5));
    const size_t colon = read.find(':');
    const std::string what = read.substr(0, colon);
    std::string pointer = read.substr(colon + 1);
    if (what == "verdict") return outcome.verdict.value(Json::json_pointer(pointer), Json());
    Json tree = Json::parse(report, nullptr, false);
    if (!tree.is_object()) return "no report";
    if (what == "descriptor") {
      const size_t second = pointer.find(':');
      tree = descriptor(tree, std::stoi(pointer.substr(0, second)));
      pointer = pointer.substr(second + 1);
      if (!tree.is_object()) return nullptr;
    }
    return tree.value(Json::json_pointer(pointer), Json());
  }

  World& world_;
  const Way way_;
  const Json& row_;
  std::string directory_, told_;
  std::vector<Fd> passed_;
  Fd master_;
};

Json table() { return Json::parse(read_file(FIELD_MODES)); }

TEST_CASE("the table names every field of the published schema, and no other") {
  std::set<std::string> fields, rows;
  leaves(Json::parse(read_file(REQUEST_SCHEMA)), "", fields);
  CHECK(fields.size() > 100);
  const Json all = table();
  // "identity (dynamic)" is another value of "identity".
  for (const auto& [name, row] : all.items()) rows.insert(name.substr(0, name.find(" (")));
  for (const auto& field : fields) {
    CAPTURE(field);
    CHECK(rows.contains(field));
  }
  for (const auto& row : rows) {
    CAPTURE(row);
    CHECK(fields.contains(row));
  }
}

// The ABI that a field of the table needs; 0: none.
int landlock_of(const std::string& field, Way way) {
  if (field.starts_with("landlock.scopes")) return 6;
  if (field.ends_with("_tcp[]")) return 4;
  if (field.starts_with("landlock")) return 1;
  // Leased ids, which are what root has as subordinate ones.
  const bool system = way == Way::root || way == Way::user;
  const bool map = field == "uid_map" || field == "gid_map";
  return (system && field == "identity (dynamic)") || (way == Way::root && map) ? 2 : 0;
}

void drive(Way way) {
  Json rows = table();
  for (const auto& [field, row] : rows.items()) {
    CAPTURE(field);
    Trial trial(way, row);
    std::string outcome;
    try {
      outcome = trial.outcome();
    } catch (const std::exception& error) {
      outcome = std::string("threw: ") + error.what();
    }
    INFO(trial.told());
    const bool there = landlock_of(field, way) <= std::max(sys::landlock_abi(), 0);
    if (field == "keyring" && !has_keyrings()) continue;  // nor a way to see that there is one
    CHECK(outcome == (there ? row[name_of(way)].get<std::string>() : "Unsupported"));
  }
}

TEST_CASE("every field does in root's service for root what the table says") {
  NEEDS_ROOT();
  drive(Way::root);
}

TEST_CASE("every field does in root's service for a user what the table says") {
  NEEDS_ROOT();
  drive(Way::user);
}

TEST_CASE("every field does in a rootless service what the table says") {
  NEEDS_ROOT();
  drive(Way::rootless);
}

TEST_CASE("every field does in private mode what the table says") {
  NEEDS_ROOT();
  drive(Way::alone);
}

}  // namespace
}  // namespace cloister::system_test
