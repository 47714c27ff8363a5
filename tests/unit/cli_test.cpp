// The command line of cloister(1): options and verbs, and what it shows: tables,
// exit codes. No service.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli.hpp"
#include "exit_code.hpp"
#include "repository.hpp"
#include "table.hpp"

using namespace cloister;
using namespace cloister::command;
using namespace cloister::command::test;

TEST_CASE("the first operand ends the options of run") {
  const Job job = job_of({"--nice", "3", "ls", "--nice", "-l"});
  CHECK(job.request.argv == std::vector<std::string>{"ls", "--nice", "-l"});
  CHECK(job.request.nice == 3);
}

TEST_CASE("two dashes end the options, and are not passed on") {
  CHECK(job_of({"--", "-x"}).request.argv == std::vector<std::string>{"-x"});
  CHECK(job_of({"a", "--", "b"}).request.argv == std::vector<std::string>{"a", "--", "b"});
}

TEST_CASE("values of options are joined, separate and clustered") {
  CHECK(job_of({"--nice=4", "x"}).request.nice == 4);
  CHECK(job_of({"-eA=1", "x"}).request.env.at("A") == "1");
  CHECK(job_of({"-e", "A=1", "x"}).request.env.at("A") == "1");
  const Job job = job_of({"-qteA=1", "x"});
  CHECK(job.terminal);
  CHECK(job.request.env.at("A") == "1");
}

TEST_CASE("wrong options are named, and the one that was meant") {
  CHECK(
      says(trouble_of({"--hostnam", "x"}), "unknown option: --hostnam; did you mean --hostname?"));
  CHECK(says(trouble_of({"--frobnicate", "1"}), "unknown option: --frobnicate"));
  CHECK(says(trouble_of({"-Z", "x"}), "unknown option: -Z"));
  CHECK(says(trouble_of({"--nice"}), "--nice needs a value"));
  CHECK(says(trouble_of({"--setsid=1", "x"}), "takes no value"));
  CHECK(says(trouble_of({}), "no command given"));
}

TEST_CASE("every verb has a help text that fits its options") {
  for (const VerbInfo& verb : verbs()) {
    const std::string text = describe(groups_of(verb));
    for (const Group& group : groups_of(verb))
      for (const Option& option : group.options)
        CHECK(says(text, (std::string("--") + option.name).c_str()));
  }
}

TEST_CASE("no letter and no name is used twice among the options of a verb") {
  for (const VerbInfo& verb : verbs()) {
    std::string letters;
    std::vector<std::string> names;
    for (const Group& group : groups_of(verb))
      for (const Option& option : group.options) {
        if (option.letter != 0) {
          CHECK(letters.find(option.letter) == std::string::npos);
          letters += option.letter;
        }
        CHECK(std::find(names.begin(), names.end(), option.name) == names.end());
        names.emplace_back(option.name);
      }
  }
}

TEST_CASE("a shell line becomes sh -c, with its operands after it") {
  const Job job = job_of({"-c", "echo $0 $1", "name", "one"});
  CHECK(job.request.argv == std::vector<std::string>{"sh", "-c", "echo $0 $1", "name", "one"});
  CHECK(std::get<std::string>(*job.request.executable) == "/bin/sh");
}

TEST_CASE("exit codes of sysexits have their names in the line") {
  Verdict verdict;
  verdict.ending = Ending::exited;
  verdict.cause = Cause::payload;
  verdict.exit_code = 69;
  CHECK(says(line_of(verdict), "exited with 69 (EX_UNAVAILABLE)"));
  verdict.exit_code = 6;
  CHECK(line_of(verdict) == "exited with 6");
  CHECK(std::string(exit_code_name(64)) == "EX_USAGE");
  CHECK(std::string(exit_code_name(78)) == "EX_CONFIG");
  CHECK(std::string(exit_code_name(63)).empty());
  CHECK(std::string(exit_code_name(79)).empty());
}

TEST_CASE("a refusal is a verdict of a job that did not start") {
  const Verdict verdict =
      verdict_of({"io.cloister.Launcher.Denied", R"({"field":"nice","rule":"r"})"}, Mode::system);
  CHECK(verdict.ending == Ending::not_started);
  CHECK(verdict.fault == Fault::policy);
  CHECK(verdict.failure->field == "nice");
  CHECK(verdict.folded_exit_code() == 125);
  CHECK(verdict_from_json(to_json(verdict)));
}

TEST_CASE("tables line up and cannot write to the terminal behind our back") {
  Table table({"A", "B"});
  table.add({"lång", "1"});
  table.add({"x\x1b[2J", "\xc2\x9b"});
  CHECK(table.text() == "A      B\nlång   1\nx?[2J  \xc2?\n");
}

TEST_CASE("a command line is shown so that a shell would take it") {
  CHECK(command_line({"a", "b c", "d'e", ""}, 80) == R"(a 'b c' 'd'\''e' '')");
  CHECK(command_line({"aaaa", "bbbb"}, 6) == "aaaa b…");
  CHECK(command_line({"ab\xc3\xa9"}, 4).starts_with("'ab"));
}

TEST_CASE("ages are counted from RFC 3339 times") {
  CHECK(age("1970-01-01T00:01:00.000000Z", 100) == "40s");
  CHECK(age("1970-01-01T00:00:00.000000Z", 600) == "10m");
  CHECK(age("1970-01-01T00:00:00.000000Z", 10 * 3600) == "10h");
  CHECK(age("1970-01-01T00:00:00.000000Z", 10 * 86400) == "10d");
  CHECK(age("1970-01-01T00:02:00.000000Z", 100) == "0s");
  CHECK(age("?", 100) == "-");
}

TEST_CASE("what is outside the workspace of its repository is noted") {
  char path[] = "/tmp/cloister-cli-XXXXXX";
  REQUIRE(::mkdtemp(path) != nullptr);
  const std::string top = path;
  namespace fs = std::filesystem;
  fs::create_directories(top + "/repository/.git/worktrees/tree");
  fs::create_directories(top + "/repository/below/deep");
  fs::create_directories(top + "/tree");
  fs::create_directories(top + "/plain");
  std::ofstream(top + "/tree/.git") << "gitdir: ../repository/.git/worktrees/tree\n";
  const auto note = [&](const std::string& workspace, std::vector<std::string> options = {}) {
    options.insert(options.end(), {"--workspace", top + workspace, "x"});
    return repository_note(job_of(options).request);
  };
  CHECK(note("/repository").empty());
  CHECK(note("/plain").empty());
  const std::string root = "root, " + top + "/repository, is outside the workspace";
  CHECK(says(note("/repository/below"), root.c_str()));
  CHECK(says(note("/repository/below/deep"), root.c_str()));
  CHECK(says(note("/repository/below", {"--ro", top + "/repository"}), root.c_str()));
  CHECK(note("/repository/below", {"--rw", top + "/repository"}).empty());
  const std::string place = "objects in " + top + "/repository/.git/worktrees/tree";
  CHECK(says(note("/tree"), place.c_str()));
  CHECK(note("/tree", {"--rw", top + "/repository/.git"}).empty());
  CHECK(repository_note(job_of({"--workspace", "none", "x"}).request).empty());
  fs::remove_all(top);
}
