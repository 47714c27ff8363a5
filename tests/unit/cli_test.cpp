// The command line of cloister(1): options to a request, environment, tables,
// exit codes. No service.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "environment.hpp"
#include "exit_code.hpp"
#include "job.hpp"
#include "outcome.hpp"
#include "repository.hpp"
#include "table.hpp"
#include "verbs.hpp"

using namespace cloister;
using namespace cloister::command;

namespace {

const char* const kEnvironment[] = {
    "PATH=/usr/bin:/bin", "HOME=/home/u", "USER=u",     "LANG=C.UTF-8", "LC_ALL=C",
    "SECRET=s",           "EMPTY=",       "TERM=xterm", "=ODD=1",       "BYTES=\xff"};

struct Line {
  std::vector<std::string> words;
  std::vector<char*> pointers;
  CommandLine line;

  Line(const char* verb, std::vector<std::string> arguments) : words(std::move(arguments)) {
    for (std::string& word : words) pointers.push_back(word.data());
    for (const VerbInfo& info : verbs())
      if (std::string_view(info.name) == verb)
        line = parse(pointers, groups_of(info), info.operands);
  }
};

Surroundings around() {
  Surroundings around;
  around.environment = kEnvironment;
  around.directory = "/src/project";
  around.rows = 24;
  around.columns = 80;
  return around;
}

Job job_of(std::vector<std::string> arguments, Verb verb = Verb::run,
           const Surroundings& where = around()) {
  const char* const names[] = {"run", "start", "plan"};
  const Line line(names[static_cast<int>(verb)], std::move(arguments));
  return prepare(line.line, verb, where);
}

std::string trouble_of(std::vector<std::string> arguments) {
  try {
    job_of(std::move(arguments));
  } catch (const Trouble& trouble) {
    return trouble.text;
  }
  return {};
}

bool says(const std::string& text, const char* part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE(text);
  return false;
}

struct File {
  std::string path = "/tmp/cloister-cli-XXXXXX";
  explicit File(const std::string& content) {
    ::close(::mkstemp(path.data()));
    std::ofstream(path, std::ios::binary) << content;
  }
  ~File() { ::unlink(path.c_str()); }
};

}  // namespace

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
  CHECK(says(trouble_of({"--hostnam", "x"}), "is it --hostname?"));
  CHECK(says(trouble_of({"--memory", "1"}), "there is no option --memory"));
  CHECK(says(trouble_of({"-Z", "x"}), "there is no option -Z"));
  CHECK(says(trouble_of({"--nice"}), "--nice needs a value"));
  CHECK(says(trouble_of({"--setsid=1", "x"}), "takes no value"));
  CHECK(says(trouble_of({}), "what shall it run?"));
}

TEST_CASE("every verb has a help text that fits its options") {
  for (const VerbInfo& verb : verbs()) {
    const std::string text = describe(groups_of(verb));
    for (const Group& group : groups_of(verb))
      for (const Option& option : group.options)
        CHECK(says(text, (std::string("--") + option.name).c_str()));
  }
}

TEST_CASE("no letter and no name stands twice among the options of a verb") {
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

TEST_CASE("only the usual variables pass, and those that are named") {
  const auto env = job_of({"-e", "SECRET", "-e", "NEW=a=b", "x"}).request.env;
  CHECK(env == std::map<std::string, std::string>{{"PATH", "/usr/bin:/bin"},
                                                  {"HOME", "/home/u"},
                                                  {"USER", "u"},
                                                  {"LANG", "C.UTF-8"},
                                                  {"LC_ALL", "C"},
                                                  {"TERM", "xterm"},
                                                  {"SECRET", "s"},
                                                  {"NEW", "a=b"}});
}

TEST_CASE("the whole environment passes, byte for byte, when asked for") {
  const auto env = job_of({"--env-all", "x"}).request.env;
  CHECK(env.at("BYTES") == "\xff");
  CHECK(env.at("EMPTY").empty());
  CHECK(env.size() == 9);
}

TEST_CASE("a variable that the caller lacks is not passed silently") {
  CHECK(says(trouble_of({"-e", "GONE", "x"}), "GONE is not set here"));
  CHECK(says(trouble_of({"-e", "=x", "x"}), "needs a name"));
}

TEST_CASE("variables of the caller's account stay behind when it runs as another") {
  const Request request = job_of({"--as", "ci", "x"}).request;
  CHECK_FALSE(request.env.contains("HOME"));
  CHECK_FALSE(request.env.contains("USER"));
  CHECK(request.env.contains("PATH"));
  CHECK(std::get<User>(*request.identity).name == "ci");
}

TEST_CASE("an unset variable is not implied again") {
  CHECK_FALSE(job_of({"--unset", "env.HOME", "x"}).request.env.contains("HOME"));
}

TEST_CASE("a file of variables is read line by line") {
  const File file("# comment\n\nA=1\nSECRET\nB = \"x\"");
  const auto env = job_of({"--env-file", file.path, "-e", "A=2", "x"}).request.env;
  CHECK(env.at("A") == "2");
  CHECK(env.at("SECRET") == "s");
  CHECK(env.at("B ") == " \"x\"");
  const File bad("A=1\nGONE\n");
  CHECK(says(trouble_of({"--env-file", bad.path, "x"}), (bad.path + ":2: GONE").c_str()));
  CHECK(says(trouble_of({"--env-file", "/nonexistent", "x"}), "No such file"));
}

TEST_CASE("options win over a request from a file") {
  const File file(R"({"argv": ["a"], "executable": "/a", "nice": 1, "umask": "0077",
    "env": {"HOME": "/elsewhere", "A": "1"}, "tags": {"k": "1", "l": "1"},
    "mounts": [{"at": "/data", "bind": "/old"}, {"at": "/tmp", "tmpfs": {}}], "name": null})");
  const Request request = job_of({"--request", file.path, "--nice", "2", "--tag", "k=2", "-e",
                                  "A=2", "--rw", "/new:/data", "b"})
                              .request;
  CHECK(request.argv == std::vector<std::string>{"b"});
  CHECK_FALSE(request.executable);
  CHECK(request.nice == 2);
  CHECK(request.umask == 077u);
  CHECK(request.env.at("HOME") == "/elsewhere");
  CHECK(request.env.at("A") == "2");
  CHECK(request.tags == std::map<std::string, std::string>{{"k", "2"}, {"l", "1"}});
  REQUIRE(request.mounts.size() == 2);
  CHECK(std::get<std::string>(*request.mounts[0].bind) == "/new");
  CHECK(request.mounts[0].access == Access::rw);
}

TEST_CASE("a request from a file keeps its program when none is named") {
  const File file(R"({"argv": ["a", "b"], "stdin": "null"})");
  const Job job = job_of({"--request", file.path});
  CHECK(job.request.argv == std::vector<std::string>{"a", "b"});
  CHECK(std::holds_alternative<Null>(*job.request.standard_input));
  CHECK(job.descriptors == std::vector<int>{1, 2});
}

TEST_CASE("a request from a file is read strictly, and the field is named") {
  const File unknown(R"({"argv": ["a"], "memory": 1})");
  CHECK(says(trouble_of({"--request", unknown.path}), "at memory: is unknown"));
  const File twice(R"({"argv": ["a"], "nice": 1, "nice": 2})");
  CHECK(says(trouble_of({"--request", twice.path}), "--request"));
  const File list("[]");
  CHECK(says(trouble_of({"--request", list.path}), "is not a JSON object"));
  const File type(R"({"argv": ["a"], "env": []})");
  CHECK(says(trouble_of({"--request", type.path, "-e", "A=1"}), "at env"));
}

TEST_CASE("values out of range are refused with their field") {
  CHECK(says(trouble_of({"--nice", "99", "x"}), "at nice"));
  CHECK(says(trouble_of({"--nice", "low", "x"}), "at nice"));
  CHECK(says(trouble_of({"--umask", "9", "x"}), "at umask"));
  CHECK(says(trouble_of({"--net", "some", "x"}), "at network"));
  CHECK(says(trouble_of({"--on-disconnect", "go", "x"}), "at lifetime.on_disconnect"));
  CHECK(says(trouble_of({"--stop-timeout", "5", "x"}), "at lifetime.stop_timeout"));
  CHECK(says(trouble_of({"--stop-signal", "SIGNO", "x"}), "at lifetime.stop_signal"));
  CHECK(says(trouble_of({"--rlimit", "nofoo=1", "x"}), "RLIMIT_NOFOO"));
  CHECK(says(trouble_of({"--rlimit", "nofile", "x"}), "is not KEY=VALUE"));
  CHECK(says(trouble_of({"--tag", "\xff=1", "x"}), "not UTF-8"));
}

TEST_CASE("limits are named with or without their prefix, and may have two values") {
  const auto limits = job_of({"--rlimit", "nofile=10:20", "--rlimit", "RLIMIT_AS=1G", "--rlimit",
                              "core=unlimited", "x"})
                          .request.rlimits;
  CHECK(limits.at("RLIMIT_NOFILE") == Rlimit{10, 20});
  CHECK(limits.at("RLIMIT_AS") == Rlimit{1u << 30, 1u << 30});
  CHECK(limits.at("RLIMIT_CORE") == Rlimit{kUnlimited, kUnlimited});
}

TEST_CASE("processors are listed by numbers and ranges") {
  CHECK(job_of({"--cpus-list", "0-2,5", "x"}).request.affinity ==
        std::vector<uint32_t>{0, 1, 2, 5});
  for (const char* wrong : {"", "a", "2-1", "1,", "-1", "1-", "99999999999", "0-4294967295"})
    CHECK(says(trouble_of({"--cpus-list", wrong, "x"}), "--cpus-list"));
}

TEST_CASE("who it runs as needs a group where the user is a number") {
  CHECK(says(trouble_of({"--as", "1000", "x"}), "needs a gid"));
  const auto ids = std::get<Ids>(*job_of({"--as", "1000:staff", "x"}).request.identity);
  CHECK(std::get<uint32_t>(*ids.ruid) == 1000);
  CHECK(std::get<std::string>(*ids.rgid) == "staff");
  CHECK(std::holds_alternative<CallerIdentity>(*job_of({"-u", "caller", "x"}).request.identity));
}

TEST_CASE("paths become absolute, and keep their links") {
  const Request request = job_of({"--ro", "data", "--rw", "./a//b:/c", "--ro", "x:y:~/z", "-w",
                                  "sub", "--workspace", ".", "x"})
                              .request;
  REQUIRE(request.mounts.size() == 3);
  CHECK(request.mounts[0].at == "/src/project/data");
  CHECK(std::get<std::string>(*request.mounts[0].bind) == "/src/project/data");
  CHECK(request.mounts[0].access == Access::ro);
  CHECK(std::get<std::string>(*request.mounts[1].bind) == "/src/project/a/b");
  CHECK(request.mounts[1].at == "/c");
  CHECK(std::get<std::string>(*request.mounts[2].bind) == "/src/project/x:y");
  CHECK(request.mounts[2].at == "~/z");
  CHECK(std::get<std::string>(*request.cwd) == "/src/project/sub");
  CHECK(request.workspace->path == "/src/project");
  // ".." is the kernel's to follow.
  CHECK(std::get<std::string>(*job_of({"--ro", "/usr/../usr", "x"}).request.mounts[0].bind) ==
        "/usr");
  CHECK(says(trouble_of({"--ro", "../nowhere", "x"}), "there is no"));
}

TEST_CASE("the current directory is the workspace where nothing else is said") {
  const Job job = job_of({"x"});
  CHECK(job.implied_workspace);
  CHECK(job.request.workspace->path == "/src/project");
  const auto implies = [](const Job& made, const char* path) {
    const auto& paths = made.request.implied;
    return std::find(paths.begin(), paths.end(), path) != paths.end();
  };
  CHECK(implies(job, "workspace"));
  CHECK(implies(job, "env.HOME"));
  CHECK_FALSE(implies(job_of({"-e", "HOME", "--workspace", "/w", "x"}), "env.HOME"));
  CHECK_FALSE(implies(job_of({"--workspace", "/w", "x"}), "workspace"));
  const Job other = job_of({"--workspace", "none", "x"});
  CHECK_FALSE(other.implied_workspace);
  CHECK_FALSE(other.request.workspace);
  CHECK_FALSE(job_of({"--workspace", "/w", "x"}).implied_workspace);
  const File file(R"({"namespaces": {"mnt": "host"}})");
  CHECK_FALSE(job_of({"--request", file.path, "x"}).request.workspace);
}

TEST_CASE("only an implied workspace is given up, and only where the service refuses it") {
  const Error refusal{"io.cloister.Launcher.InvalidRequest", R"({"field":"workspace.path"})"};
  Job implied = job_of({"x"}), asked = job_of({"--workspace", "/w", "x"});
  CHECK_FALSE(drop_workspace(implied, {"io.cloister.Launcher.Denied", R"({"field":"nice"})"}));
  CHECK_FALSE(drop_workspace(asked, refusal));
  CHECK(asked.request.workspace);
  CHECK(drop_workspace(implied, refusal));
  CHECK_FALSE(implied.request.workspace);
  CHECK_FALSE(drop_workspace(implied, refusal));
}

TEST_CASE("stdin, stdout and stderr are the command's own, in this order") {
  const Job job = job_of({"x"});
  CHECK(job.descriptors == std::vector<int>{0, 1, 2});
  CHECK(std::get<PassedFd>(*job.request.standard_error).index == 2);
  Surroundings closed = around();
  closed.open[0] = false;
  const Job without = job_of({"x"}, Verb::run, closed);
  CHECK(std::holds_alternative<Null>(*without.request.standard_input));
  CHECK(without.descriptors == std::vector<int>{1, 2});
}

TEST_CASE("a started job holds no descriptor of the command") {
  const Job job = job_of({"x"}, Verb::start);
  CHECK(job.descriptors.empty());
  CHECK(std::holds_alternative<Null>(*job.request.standard_output));
}

TEST_CASE("streams can be files, nothing, and each other") {
  const File in("text"), out("");
  const Job job = job_of({"--stdin", in.path, "--stdout", out.path, "--stderr", "stdout", "x"});
  REQUIRE(job.opened.size() == 2);
  CHECK((::fcntl(job.opened[0].borrow(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK((::fcntl(job.opened[1].borrow(), F_GETFL) & O_ACCMODE) == O_WRONLY);
  CHECK(std::holds_alternative<LikeStdout>(*job.request.standard_error));
  CHECK(std::holds_alternative<Null>(*job_of({"--stdout", "null", "x"}).request.standard_output));
  CHECK(says(trouble_of({"--stdin", "/nonexistent/x", "x"}), "--stdin: cannot open"));
}

TEST_CASE("passed descriptors come first, so that a request can count on their index") {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const File file(R"({"argv": ["x"], "file_actions": [{"receive": {"passed_fd": 0, "fd": 7}}]})");
  const Job job = job_of({"--request", file.path, "--pass-fd", std::to_string(null)});
  CHECK(job.descriptors == std::vector<int>{null, 0, 1, 2});
  CHECK(std::get<PassedFd>(*job.request.standard_input).index == 1);
  ::close(null);
  CHECK(says(trouble_of({"--pass-fd", "9999", "x"}), "is not an open descriptor"));
  CHECK(says(trouble_of({"--pass-fd", "-1", "x"}), "is not an open descriptor"));
}

TEST_CASE("a terminal is asked for with the size of ours") {
  const Job job = job_of({"-t", "x"});
  CHECK(job.descriptors.empty());
  CHECK(std::holds_alternative<Pty>(*job.request.standard_input));
  CHECK(job.request.terminal->rows == 24u);
  CHECK(job.request.terminal->columns == 80u);
  Surroundings none = around();
  none.rows = none.columns = 0;
  CHECK_FALSE(job_of({"-t", "x"}, Verb::run, none).request.terminal);
}

TEST_CASE("what the command line said is told apart from what it implied") {
  const File file(R"({"umask": "0077", "nice": 1, "env": {"B": "2"}})");
  const Job job = job_of({"--request", file.path, "--nice", "2", "-e", "A=1", "--ro", "/usr:/y/",
                          "--stdin", "null", "x"},
                         Verb::plan);
  const auto said = [&](const char* path) { return job.said.at(path); };
  CHECK(said("umask") == "--request " + file.path);
  CHECK(said("env.B") == "--request " + file.path);
  CHECK(said("nice") == "--nice");
  CHECK(said("env.A") == "-e, --env-file");
  CHECK(said("mounts./y") == "--ro");
  CHECK(said("stdin") == "--stdin");
  CHECK(said("stdout.passed_fd") == "caller");
  CHECK(said("argv") == "the command line");
  CHECK(said("env.HOME") == "caller");
  CHECK(said("workspace.path") == "caller");
  CHECK(job_of({"x"}).said.empty());
}

TEST_CASE("arguments that are not UTF-8 pass unchanged") {
  CHECK(job_of({"x", "\xff\xfe"}).request.argv[1] == "\xff\xfe");
}

TEST_CASE("all remaining options reach their fields") {
  const Request request = job_of({"--profile",   "p",
                                  "--name",      "n",
                                  "--hostname",  "h",
                                  "--net",       "host",
                                  "--setsid",    "--stop-signal",
                                  "INT",         "--stop-timeout",
                                  "250ms",       "--on-disconnect",
                                  "keep",        "--idempotency-key",
                                  "k",           "--best-effort",
                                  "limits.pids", "--umask",
                                  "0027",        "x"})
                              .request;
  CHECK(request.profile == "p");
  CHECK(request.name == "n");
  CHECK(request.hostname == "h");
  CHECK(std::holds_alternative<HostNetwork>(*request.network));
  CHECK(request.setsid == true);
  CHECK(request.lifetime.stop_signal == 2);
  CHECK(request.lifetime.stop_timeout == std::chrono::milliseconds(250));
  CHECK(request.lifetime.on_disconnect == OnDisconnect::keep);
  CHECK(request.idempotency_key == "k");
  CHECK(request.best_effort == std::vector<std::string>{"limits.pids"});
  CHECK(request.umask == 027u);
}

TEST_CASE("options of the box reach their fields") {
  const File secret("hush");
  const File filter(R"({"defaultAction": "SCMP_ACT_ALLOW"})");
  const Job job = job_of({"--tmpfs",
                          "/x/:1M",
                          "--tmpfs",
                          "~/y",
                          "--scratch",
                          "~",
                          "--scratch",
                          "/big/",
                          "--device",
                          "/dev/kvm",
                          "--root",
                          "/srv/debian",
                          "--root-access",
                          "overlay",
                          "--secret",
                          "token=" + secret.path,
                          "--publish",
                          "8080:80",
                          "--publish",
                          "[::1]:5353:53/udp",
                          "--publish",
                          "443",
                          "--seccomp",
                          filter.path,
                          "x"});
  const Request& request = job.request;
  REQUIRE(request.mounts.size() == 4);
  CHECK(request.mounts[0].tmpfs->size == 1u << 20);
  CHECK(request.mounts[1].at == "~/y");
  CHECK(request.mounts[2].at == "~");
  CHECK(request.mounts[2].scratch->on == ScratchPlace::disk);
  CHECK(request.mounts[3].at == "/big");
  CHECK(request.devices->at(0).path == "/dev/kvm");
  CHECK(std::get<std::string>(*request.root) == "/srv/debian");
  CHECK(request.root_access == RootAccess::overlay);
  CHECK(request.secrets.at("token").passed_fd == 0);
  CHECK(job.opened.size() == 1);
  const auto& ports = std::get<Outbound>(*request.network).publish;
  REQUIRE(ports.size() == 3);
  CHECK(ports[0] == PublishedPort{80, 8080, {}, {}});
  CHECK(ports[1] == PublishedPort{53, 5353, "::1", Protocol::udp});
  CHECK(ports[2] == PublishedPort{443, {}, {}, {}});
  CHECK(says(request.seccomp->json, "SCMP_ACT_ALLOW"));
  CHECK(job_of({"--seccomp", "none", "x"}).request.seccomp->json == "\"none\"");
  CHECK(std::holds_alternative<EmptyRoot>(*job_of({"--root", "empty", "x"}).request.root));
  CHECK(std::holds_alternative<Outbound>(*job_of({"--net", "outbound", "x"}).request.network));
  CHECK(says(trouble_of({"--publish", "http", "x"}), "publish[0].port"));
  CHECK(says(trouble_of({"--secret", "token", "x"}), "--secret"));
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
