// U1: what a dry run says about the mounts is what the payload's mountinfo shows,
// for every pair of kinds, one in the other, in both orders, from each layer.
#include <sys/stat.h>

#include <map>
#include <set>
#include <vector>

#include "mounts.hpp"

namespace cloister::system_test {
namespace {

// Under /run/pN, where the box has a tmpfs of its own.
using Make = Json (*)(const std::string& at, const std::string& tree);

const std::map<std::string, Make> kMounts = {
    {"bind",
     [](const std::string& at, const std::string& tree) {
       return Json{{"at", at}, {"bind", tree}};
     }},
    {"bind rw",
     [](const std::string& at, const std::string& tree) {
       return Json{{"at", at}, {"bind", tree}, {"access", "rw"}};
     }},
    {"tmpfs",
     [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"tmpfs", Json::object()}};
     }},
    {"tmpfs ro",
     [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"tmpfs", Json::object()}, {"access", "ro"}};
     }},
    {"scratch",
     [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"scratch", Json::object()}};
     }},
    {"dev",
     [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"dev", "minimal"}};
     }},
    {"dir",
     [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"dir", Json::object()}};
     }},
    {"devpts",
     [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"devpts", Json::object()}};
     }},
    {"proc", [](const std::string& at, const std::string&) {
       return Json{{"at", at}, {"proc", Json::object()}};
     }}};

// In these something else can be mounted.
bool can_hold(const std::string& kind) { return kind != "devpts" && kind != "proc"; }

bool is_cover(const std::string& kind) { return kind == "mask" || kind == "lock"; }

struct Pairs {
  Json mounts = Json::array(), masked = Json::array(), locked = Json::array();
  Json implied = Json::array();

  void add(const std::string& kind, const std::string& at, const std::string& tree,
           bool is_implied) {
    if (kind == "mask") {
      masked.push_back(at);
    } else if (kind == "lock") {
      locked.push_back(at);
    } else {
      mounts.push_back(kMounts.at(kind)(at, tree));
      if (is_implied) implied.push_back("mounts." + at);
    }
  }

  Json request(Json request) const {
    for (const Json& mount : mounts) request["mounts"].push_back(mount);
    request["masked_paths"] = masked;
    request["readonly_paths"] = locked;
    request["implied"] = implied;
    return request;
  }
};

std::vector<std::string> all_kinds() {
  std::vector<std::string> kinds = {"mask", "lock"};
  for (const auto& [kind, make] : kMounts) kinds.push_back(kind);
  return kinds;
}

bool is_mount(const std::string& kind) {
  return kind != "symlink" && kind != "dir" && kind != "secret";
}

bool lies_in(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory || path.starts_with(directory + "/");
}

// Whether nothing that is mounted later lies over it: the way down from the
// root crosses every mount that stands in it.
bool is_visible(const std::vector<MountLine>& lines, const MountLine& line, int way = -1) {
  for (const MountLine& other : lines) {
    if (other.id == line.id || other.id == way) continue;
    if (other.parent == line.id && other.point == line.point) return false;
    if (other.parent == line.parent && other.point != line.point &&
        lies_in(line.point, other.point))
      return false;
  }
  for (const MountLine& above : lines)
    if (above.id == line.parent && above.id != line.id) return is_visible(lines, above, line.id);
  return true;
}

// Each row of the dry run against the kernel's list, and the other way round.
void compare(const Json& table, const Json& report, const std::string& below) {
  const std::vector<MountLine> lines = mounts_of(report);
  std::set<std::string> planned;
  size_t compared = 0;
  for (const Json& row : table) {
    const std::string at = row["at"];
    if (!is_mount(row["kind"])) continue;
    planned.insert(at);
    const MountLine* found = nullptr;
    for (const MountLine& line : lines)
      if (line.point == at && is_visible(lines, line)) found = &line;
    CAPTURE(row.dump());
    if (!found && row["if_there"] == true && !lies_in(at, below)) continue;
    REQUIRE(found);
    CAPTURE(found->whole);
    CHECK(found->has("ro") == (row["access"] == "ro"));
    for (const Json& option : row["options"]) CHECK(found->has(option));
    ++compared;
  }
  CHECK(compared > 0);
  for (const MountLine& line : lines) {
    if (!lies_in(line.point, below)) continue;
    CAPTURE(line.whole);
    CHECK(is_visible(lines, line));
    bool known = planned.contains(line.point);
    for (const Json& row : table)  // a /dev of the job has more in it
      known |= row["kind"] == "dev" && lies_in(line.point, row["at"]);
    CHECK(known);
  }
}

Json table_of(Client& client, const Json& request) {
  const Reply plan = client.call("Plan", {{"request", request}});
  INFO(plan.parameters.dump().substr(0, 4000));
  REQUIRE(plan.error.empty());
  return plan.parameters["mounts"];
}

// The directories in/deeper in it, of `way`'s user.
std::string tree_of(Way way) {
  World& world = World::get();
  const std::string tree = world.directory_of(world.who(way));
  for (const char* name : {"/in", "/in/deeper"}) mkdir((tree + name).c_str(), 0755);
  write_file(tree + "/in/file", "of the host", 0644);
  give(way, tree);
  return tree;
}

TEST_CASE("U1: for every pair of mounts, one in the other, the plan is what mountinfo shows") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::alone}) {
    const std::string tree = tree_of(way);
    Client client = world.connect(way);
    for (const bool inner_first : {false, true})
      for (const int below : {0, 1, 2}) {  // the profile: neither, the outer, the inner
        CAPTURE(name_of(way));
        CAPTURE(inner_first);
        CAPTURE(below);
        Pairs pairs;
        int count = 0;
        for (const std::string& outer : all_kinds())
          for (const std::string& inner : all_kinds()) {
            if (!can_hold(outer)) continue;
            const std::string at = "/run/p" + std::to_string(count++);
            if (!inner_first) pairs.add(outer, at, tree, below == 1);
            pairs.add(inner, at + "/in", tree, below == 2);
            if (inner_first) pairs.add(outer, at, tree, below == 1);
            // A cover lies over something.
            if (is_cover(inner)) pairs.add("tmpfs", at + "/in/deeper", tree, false);
          }
        const Json request = pairs.request(world.boxed_request());
        compare(table_of(client, request), report_of(client, words(request, {})), "/run/p");
      }
  }
}

TEST_CASE("U1: workspace, secrets and devices have their places among the mounts") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string tree = tree_of(way), inner = tree + "/in";
    for (const bool is_implied : {false, true}) {
      CAPTURE(is_implied);
      Json request = world.boxed_request();
      request["workspace"] = {{"path", tree}};
      if (is_implied) request["implied"] = {"workspace"};
      request["devices"] = {{{"path", "/dev/full"}}};
      const auto run = [&](const std::vector<std::string>& arguments) {
        return act(client, words(request, arguments));
      };
      const auto compared = [&] {
        compare(table_of(client, request), report_of(client, words(request, {})), tree);
      };
      const Json plain = request;
      request = mounted(plain, {{"at", inner}, {"bind", inner}});
      compared();
      CHECK(run({"file-write", inner + "/file", "x"})["error"] == "EROFS");
      CHECK(run({"file-write", tree + "/beside", "x"})["error"] == nullptr);
      request = mounted(plain, {{"at", inner}, {"tmpfs", Json::object()}});
      compared();
      CHECK(run({"read", inner + "/file"})["error"] == "ENOENT");
      request = mounted(plain, {{"at", inner + "/file"}, {"file", {{"text", "of the job"}}}});
      compared();
      CHECK(run({"read", inner + "/file"})["text"] == "of the job");
      request = with(plain, {{"masked_paths", {inner}}});
      compared();
      CHECK(run({"read", inner + "/file"})["error"] == "ENOENT");
      request = with(plain, {{"readonly_paths", {inner}}});
      request = mounted(request, {{"at", inner + "/deeper"}, {"bind", inner}, {"access", "rw"}});
      compared();
      CHECK(run({"file-write", inner + "/file", "x"})["error"] == "EROFS");
      CHECK(run({"file-write", inner + "/deeper/file", "x"})["error"] == "EROFS");
      // One that holds the workspace lies below it.
      request = mounted(plain, {{"at", world.directory()}, {"tmpfs", Json::object()}});
      compared();
      CHECK(run({"read", inner + "/file"})["text"] == "of the host");
      CHECK(run({"stat", world.probe()})["error"] == "ENOENT");
      // At the very place: the layer that is higher, or nobody.
      request = mounted(plain, {{"at", tree}, {"bind", tree}});
      if (is_implied) {
        compared();
        CHECK(run({"file-write", inner + "/file", "x"})["error"] == "EROFS");
      } else {
        const Refused answer = refused(client, request);
        CHECK(answer.error == "InvalidRequest");
        CHECK(answer.field == "workspace");
      }
    }
    CHECK(read_file(inner + "/file") == "of the host");
  }
}

TEST_CASE("U1: a place behind a link is the place that it leads to") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string tree = tree_of(way);
    REQUIRE(symlink("in/deeper", (tree + "/link").c_str()) == 0);
    Json request = world.boxed_request();
    request["mounts"].push_back({{"at", "/run/l/x"}, {"tmpfs", Json::object()}});
    request["mounts"].push_back({{"at", "/run/l"}, {"symlink", "t/u"}});
    request["mounts"].push_back({{"at", "/run/t"}, {"tmpfs", Json::object()}});
    request["mounts"].push_back({{"at", "/run/tree/link"}, {"tmpfs", Json::object()}});
    request["mounts"].push_back({{"at", "/run/tree"}, {"bind", tree}});
    const Json table = table_of(client, request);
    compare(table, report_of(client, words(request, {})), "/run/t");
    std::set<std::string> places;
    for (const Json& row : table) places.insert(row["at"]);
    CHECK(places.contains("/run/t/u/x"));
    CHECK(places.contains("/run/tree/in/deeper"));
    CHECK_FALSE(places.contains("/run/l/x"));
    const Refused answer =
        refused(client, mounted(request, {{"at", "/run/t/u/x"}, {"tmpfs", Json::object()}}));
    CHECK(answer.error == "InvalidRequest");
    CHECK(answer.field == "mounts./run/t/u/x");
    // Higher than the profile's, which is at /run.
    if (access("/var/run/.", F_OK) == 0)
      CHECK(act(client, words(mounted(world.boxed_request(),
                                      {{"at", "/var/run/here"}, {"dir", Json::object()}}),
                              {"stat", "/run/here"}))["error"] == nullptr);
  }
}

}  // namespace
}  // namespace cloister::system_test
