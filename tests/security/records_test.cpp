// What is recorded of a decision, and what `cloister policy explain` says of one
// that nobody asked for.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "build_paths.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

using Record = std::map<std::string, std::string>;

// The NAME=value lines of one; REQUIREs that they are nothing else.
Record parsed(const std::string& text) {
  Record record;
  INFO(text);
  REQUIRE(text.ends_with('\n'));
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at), equals = text.find('=', at);
    REQUIRE(equals < end);
    const std::string name = text.substr(at, equals - at);
    REQUIRE(name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == name.npos);
    REQUIRE_FALSE(record.contains(name));
    record[name] = text.substr(equals + 1, end - equals - 1);
    for (const char c : record[name]) REQUIRE((c >= 0x20 && c < 0x7f));
    at = end + 1;
  }
  REQUIRE(record["SYSLOG_IDENTIFIER"] == "cloisterd");
  return record;
}

// All since the last call, once there are so many: an end is recorded when the
// client has been told.
std::vector<Record> records_of(Ruled& ruled, size_t at_least) {
  std::vector<Record> all;
  eventually([&] {
    for (const std::string& text : ruled.service().records()) all.push_back(parsed(text));
    return all.size() >= at_least;
  });
  return all;
}

TEST_CASE("each decision is recorded once, with the rule that made it") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "few"},
                      {"users", {world.alice().uid}},
                      {"allow", {{"nice", 3}, {"devices", Json::array()}}},
                      {"quota", {{"jobs", 1}}}}}));
  Client client = ruled.connect(world.alice());
  const Json good = with(world.probe_request({"exit", "7"}), {{"nice", 3}, {"name", "seven"}});
  const std::string uid = std::to_string(world.alice().uid);
  ruled.service().records();

  REQUIRE(client.run(good).error == "");
  std::vector<Record> all = records_of(ruled, 2);
  REQUIRE(all.size() == 2);
  for (Record& record : all) {
    CHECK(record["CLOISTER_UID"] == uid);
    CHECK(record["CLOISTER_RULE"] == "few");
    CHECK(record["CLOISTER_NAME"] == "seven");
    CHECK(record["CLOISTER_JOB"].starts_with("j-"));
    CHECK(record["PRIORITY"] == "6");
  }
  CHECK(all[0]["CLOISTER_DECISION"] == "accepted");
  CHECK(all[0]["CLOISTER_PROFILE"] == "none");
  CHECK(all[1]["CLOISTER_DECISION"] == "ended");
  CHECK(all[1]["CLOISTER_CAUSE"] == "payload");
  CHECK(all[1]["CLOISTER_ENDING"] == "exit 7");
  CHECK(all[0]["CLOISTER_JOB"] == all[1]["CLOISTER_JOB"]);

  CHECK(client.run(with(good, {{"nice", 2}})).error == "Denied");
  all = records_of(ruled, 1);
  REQUIRE(all.size() == 1);
  CHECK(all[0]["CLOISTER_DECISION"] == "denied");
  CHECK(all[0]["CLOISTER_FIELD"] == "nice");
  CHECK(all[0]["CLOISTER_REASON"] == "few/nice");
  CHECK(all[0]["CLOISTER_RULE"] == "few");
  CHECK(all[0]["CLOISTER_LIMIT"] == "3");
  CHECK(all[0]["CLOISTER_REQUESTED"] == "2");
  CHECK(all[0]["PRIORITY"] == "5");
  // A rule that always holds, under the one that spoke of the caller.
  CHECK(client.run(with(good, {{"identity", {{"ruid", 0}}}})).error == "Denied");
  all = records_of(ruled, 1);
  REQUIRE(all.size() == 1);
  CHECK(all[0]["CLOISTER_REASON"] == "own-uid");
  CHECK(all[0]["CLOISTER_RULE"] == "few");

  Reply held = client.call("Start", {{"request", with(good, {{"argv", {"probe", "hold"}}})}});
  CHECK(client.run(good).error == "Busy");
  client.call("Stop", {{"id", held.parameters["id"]}, {"timeout", "0s"}});
  CHECK(client.run(with(good, {{"nice", 1}})).error == "Denied");
  all = records_of(ruled, 4);
  REQUIRE(all.size() == 4);
  CHECK(all[1]["CLOISTER_DECISION"] == "busy");
  CHECK(all[1]["CLOISTER_REASON"] == "few/quota.jobs");
  CHECK(all[2]["CLOISTER_CAUSE"] == "canceled");
  CHECK(all[3]["CLOISTER_DECISION"] == "denied");
  // A dry run decides about nothing; a request that nobody could judge neither.
  CHECK(planned(client, with(good, {{"nice", 2}})).error == "Denied");
  CHECK(client.run(with(good, {{"nice", 99}})).error == "InvalidRequest");
  CHECK(records_of(ruled, 0).empty());
  Json secret =
      with(good, {{"env", {{"TOKEN", "hunter2"}}}, {"argv", {"probe", "noop", "hunter2"}}});
  client.run(secret);
  for (const Record& record : records_of(ruled, 2))
    for (const auto& [field, value] : record) CHECK(value.find("hunter2") == value.npos);
}

TEST_CASE("ESC-18 what a client calls its job is one escaped, cut record") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  Client client = ruled.connect(world.alice());
  const std::vector<std::string> kNames = {"a\nMESSAGE=forged\nPRIORITY=0",
                                           "\x1b[2J\x1b]0;title\x07",
                                           "\u202Egnp.exe",
                                           "%n%s%1000000d",
                                           "MESSAGE=x",
                                           "\" rule=root \"",
                                           "\\x0a",
                                           std::string(128, '\x01'),
                                           "\t\r\v\f\x7f"};
  for (const std::string& name : kNames) {
    CAPTURE(name);
    ruled.service().records();
    const Outcome outcome = client.run(with(world.probe_request({"noop"}), {{"name", name}}));
    INFO(outcome.told());
    if (outcome.error == "InvalidRequest") {
      CHECK(records_of(ruled, 0).empty());
      continue;
    }
    REQUIRE(outcome.error == "");
    const auto all = records_of(ruled, 2);  // each line of which is checked
    REQUIRE(all.size() == 2);
    for (Record record : all) {
      CHECK(record["CLOISTER_NAME"].size() <= 256);
      CHECK(record["CLOISTER_NAME"].size() >= name.size());
      CHECK(record["CLOISTER_NAME"].find('"') == std::string::npos);
      CHECK(record["MESSAGE"].size() < 1024);
      CHECK(
          (record["MESSAGE"].starts_with("accepted ") || record["MESSAGE"].starts_with("ended ")));
    }
  }
  ruled.service().records();
  CHECK(client.run(with(world.probe_request(), {{"name", std::string(1 << 20, 'x')}})).error ==
        "InvalidRequest");
  for (const auto& text : ruled.service().records()) CHECK(text.size() < 4096);
}

TEST_CASE("records that nobody reads hold up nobody, and are counted") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  Client client = ruled.connect(world.alice());
  const Json denied = with(world.probe_request(), {{"identity", {{"ruid", 0}}}});
  const long took = milliseconds([&] {
    for (int i = 0; i < 300; ++i) REQUIRE(client.run(denied).error == "Denied");
  });
  CHECK(took < 20'000 * kSanitizerFactor);
  const size_t read = ruled.service().records().size();
  CHECK(read < 300);
  CHECK(client.run(denied).error == "Denied");
  std::vector<Record> all = records_of(ruled, 1);
  REQUIRE(all.size() == 1);
  CHECK(all[0]["CLOISTER_MISSING"] == std::to_string(300 - read));
  CHECK(client.run(denied).error == "Denied");
  all = records_of(ruled, 1);
  REQUIRE(all.size() == 1);
  CHECK_FALSE(all[0].contains("CLOISTER_MISSING"));
}

TEST_CASE("without a journal a record is one line on standard error") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object(), {"--journal", "/nonexistent/socket"});
  Client client = ruled.connect(world.alice());
  const std::string name = "two\nlines \"and\" more";
  REQUIRE(client.run(with(world.probe_request({"noop"}), {{"name", name}})).error == "");
  std::string said;
  eventually([&] { return (said = ruled.said()).find("ended") != said.npos; });
  INFO(said);
  CHECK(said.starts_with("cloisterd: accepted job=j-"));
  CHECK(said.find(" uid=" + std::to_string(world.alice().uid) + " rule=default") != said.npos);
  CHECK(said.find("name=\"two\\x0alines \\x22and\\x22 more\"") != said.npos);
  CHECK(said.find("\ncloisterd: ended job=j-") != said.npos);
  CHECK(std::count(said.begin(), said.end(), '\n') == 2);
}

// Standard output of `cloister policy explain`, and its exit code.
std::pair<int, std::string> explain(const Ruled& ruled, const Who& who,
                                    std::vector<std::string> words) {
  auto [end, write_end] = pipe();
  words.insert(words.begin(), {"cloister", "policy", "explain", "--socket", ruled.socket()});
  const pid_t pid = child([&, &write_end = write_end] {
    check(dup2(write_end.get(), 1), "dup2");
    if (who.uid != 0) become(who);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return execv(World::get().program("cloister").c_str(), argv.data());
  });
  write_end.reset();
  const std::string out = read_from(end.get());
  return {WEXITSTATUS(wait_for(pid)), out};
}

TEST_CASE("policy explain tells root what somebody's request would be told, and by which rule") {
  NEEDS_ROOT();
  World& world = World::get();
  REQUIRE(command({"cp", CLOISTER, world.program("cloister")}) == 0);
  Ruled ruled(rules({{{"name", "nicer"},
                      {"groups", {world.alice().gid}},
                      {"allow", {{"nice", -5}, {"rlimits", {{"RLIMIT_CORE", 0}}}}}}}));
  // Root's, which the user could not read.
  const std::string file = world.directory_of(world.root()) + "/request.json";
  const auto asked = [&](const Who& who, const std::string& user, const Json& members) {
    write_file(file, with(world.probe_request(), members).dump(), who.uid == 0 ? 0600 : 0644);
    std::vector<std::string> words = {file, "--json"};
    if (!user.empty()) words.insert(words.end(), {"--user", user});
    const auto [code, out] = explain(ruled, who, words);
    Json answer = Json::parse(out, nullptr, false);
    if (!answer.is_object()) answer = {{"said", out}};
    answer["code"] = code;
    return answer;
  };
  const std::string alice = world.name_of(world.alice()), bob = world.name_of(world.bob());
  Json answer = asked(world.root(), alice,
                      {{"nice", -5}, {"rlimits", {{"RLIMIT_CORE", {{"soft", 0}, {"hard", 0}}}}}});
  CAPTURE(answer.dump());
  CHECK(answer["code"] == 0);
  CHECK(answer["decision"] == "allowed");
  CHECK(answer["uid"] == world.alice().uid);
  CHECK(answer["policy"] == "nicer");
  answer = asked(world.root(), alice, {{"nice", -6}});
  CHECK(answer["code"] == 1);
  CHECK(answer["decision"] == "denied");
  CHECK(answer["policy"] == "nicer");
  CHECK(answer["field"] == "nice");
  CHECK(answer["rule"] == "nicer/nice");
  CHECK(answer["limit"] == -5);
  CHECK(answer["requested"] == -6);
  // The same request, asked by another.
  answer = asked(world.root(), bob, {{"nice", -5}});
  CHECK(answer["decision"] == "denied");
  CHECK(answer["policy"] == "default");
  CHECK(answer["rule"] == "not-below-own-nice");
  answer = asked(world.root(), "", {{"nice", -5}});
  CHECK(answer["decision"] == "allowed");
  CHECK(answer["uid"] == 0);
  // What a request of root's says is the file's, not what root could do.
  answer = asked(world.root(), bob, {{"identity", {{"ruid", 0}}}});
  CHECK(answer["rule"] == "own-uid");

  CHECK(asked(world.root(), "nobody-of-this-name", Json::object())["code"] == 125);
  CHECK(asked(world.root(), alice, {{"nice", 99}})["code"] == 125);
  const auto [code, text] = explain(ruled, world.root(), {"--user", alice, file});
  CHECK(code == 125);
  write_file(file, with(world.probe_request(), {{"nice", -9}}).dump());
  const auto [denied, table] = explain(ruled, world.root(), {"--user", alice, file});
  CHECK(denied == 1);
  CHECK(table.find("denied") != table.npos);
  CHECK(table.find("nicer/nice") != table.npos);
  // Nobody but root asks about another.
  check(chmod(file.substr(0, file.rfind('/')).c_str(), 0755), "chmod");
  CHECK(asked(world.bob(), alice, {{"nice", 5}})["code"] == 125);
  CHECK(asked(world.bob(), bob, {{"nice", 5}})["decision"] == "allowed");
}

}  // namespace
}  // namespace cloister::security_test
