// What the command line of cloister(1) makes of a job: its environment, its
// request, its descriptors. No service.
#include <fcntl.h>
#include <unistd.h>

#include "cli.hpp"
#include "table.hpp"

using namespace cloister;
using namespace cloister::command;
using namespace cloister::command::test;

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
  CHECK(says(trouble_of({"--request", list.path}), "not a JSON object"));
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
  CHECK(says(trouble_of({"--ro", "../nowhere", "x"}), "no such file or directory: "));
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
  CHECK(std::holds_alternative<Null>(*job.request.standard_input));
  for (const auto& stream : {job.request.standard_output, job.request.standard_error}) {
    CHECK_FALSE(std::get<Capture>(*stream).max);
    CHECK_FALSE(std::get<Capture>(*stream).on_limit);
  }
  const Job plain = job_of({"--profile", "none", "--stdout", "null", "x"}, Verb::start);
  CHECK(std::holds_alternative<Null>(*plain.request.standard_output));
  CHECK(std::holds_alternative<Capture>(*plain.request.standard_error));
  const File file(R"({"argv": ["a"], "stdout": "null", "stderr": "stdout"})");
  const Request asked = job_of({"--request", file.path}, Verb::start).request;
  CHECK(std::holds_alternative<Null>(*asked.standard_output));
  CHECK(std::holds_alternative<LikeStdout>(*asked.standard_error));
}

TEST_CASE("a limit on output captures both streams, and a job past it is killed") {
  for (const Verb verb : {Verb::run, Verb::start, Verb::plan}) {
    const Job job = job_of({"--max-output", "10M", "x"}, verb);
    for (const auto& stream : {job.request.standard_output, job.request.standard_error}) {
      CHECK(std::get<Capture>(*stream).max == 10u << 20);
      CHECK(std::get<Capture>(*stream).on_limit == OnLimit::kill);
    }
    CHECK(job.descriptors.size() == (verb == Verb::start ? 0 : 1));
    if (verb == Verb::plan) CHECK(job.said.at("stdout.capture.max") == "--max-output");
  }
  const Request one = job_of({"--max-output", "1", "--stderr", "stdout", "x"}).request;
  CHECK(std::get<Capture>(*one.standard_output).max == 1u);
  CHECK(std::holds_alternative<LikeStdout>(*one.standard_error));
  // The request's own capture has the option's limit.
  const File file(R"({"argv": ["a"], "stdout": {"capture": {"max": 5, "on_limit": "truncate"}},
    "stderr": "stdout"})");
  const Request both = job_of({"--request", file.path, "--max-output", "7"}).request;
  CHECK(std::get<Capture>(*both.standard_output).max == 7u);
  CHECK(std::get<Capture>(*both.standard_output).on_limit == OnLimit::kill);
  CHECK(std::holds_alternative<LikeStdout>(*both.standard_error));
  CHECK(says(trouble_of({"--max-output", "much", "x"}), "capture.max: is not a size"));
}

TEST_CASE("a limit on output, a log and another place exclude each other") {
  const auto trouble = [](std::vector<std::string> options) {
    options.emplace_back("x");
    return trouble_of(options);
  };
  CHECK(trouble({"--max-output", "1M", "--stdout", "null"}) ==
        "--max-output captures stdout and stderr, and --stdout names another place");
  CHECK(says(trouble({"--max-output", "1M", "--stderr", "-"}), "and --stderr names another place"));
  CHECK(says(trouble({"--max-output", "1M", "--log", "/tmp/x"}), "and --log names another place"));
  CHECK(says(trouble({"--max-output", "1M", "-t"}), "and --tty gives the job a terminal"));
  CHECK(trouble({"--log", "/nonexistent/x", "--stdout", "null"}) ==
        "--log takes stdout and stderr, and --stdout names another place");
  CHECK(says(trouble({"--log", "/nonexistent/x", "-t"}), "and --tty gives the job a terminal"));
  CHECK(says(trouble({"--log", "/nonexistent/x"}), "--log: cannot open /nonexistent/x"));
  const File file(R"({"stderr": {"path": "/x"}})"), captured(R"({"stdout": {"capture": {}}})");
  CHECK(says(trouble({"--request", file.path, "--max-output", "1M"}),
             "the request names another place for stderr"));
  CHECK(says(trouble({"--request", captured.path, "--log", "/nonexistent/x"}),
             "the request names another place for stdout"));
}

TEST_CASE("a log is one open file for both streams, which is written at its end") {
  for (const Verb verb : {Verb::run, Verb::start}) {
    const File log("old");
    const Job job = job_of({"--log", log.path, "--stdin", "null", "x"}, verb);
    REQUIRE(job.opened.size() == 1);
    const int fd = job.opened[0].borrow();
    CHECK(job.descriptors == std::vector<int>{fd, fd});
    CHECK(std::get<PassedFd>(*job.request.standard_output).index == 0);
    CHECK(std::get<PassedFd>(*job.request.standard_error).index == 1);
    CHECK((::fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
    CHECK(::lseek(fd, 0, SEEK_END) == 0);
  }
  const File log("old");
  const Job job = job_of({"--log", log.path, "--stderr", "stdout", "--stdin", "null", "x"});
  CHECK(job.descriptors.size() == 1);
  CHECK(std::holds_alternative<LikeStdout>(*job.request.standard_error));
  const Job dry = job_of({"--log", "/nonexistent/x", "x"}, Verb::plan);
  CHECK(std::get<OpenPath>(*dry.request.standard_error).path == "/nonexistent/x");
  CHECK(dry.said.at("stderr.path") == "--log");
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
