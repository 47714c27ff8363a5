// Profiles and defaults: what a request becomes before it is a Plan.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "build_paths.hpp"
#include "resolve/landlock.hpp"
#include "resolving.hpp"

using namespace cloister;
using namespace cloister::front;
using namespace cloister::front::test;

TEST_CASE("the default profile is a box: root read-only, private places, a workspace") {
  const TempDir work;
  const Made made = make("\"workspace\": {\"path\": \"" + work.path() + "\"}");
  using plan::Join;
  using plan::Namespace;
  for (const Namespace fresh : {Namespace::mnt, Namespace::pid, Namespace::net, Namespace::ipc,
                                Namespace::uts, Namespace::cgroup})
    CHECK(made->namespaces[static_cast<int>(fresh)].join == Join::fresh);
  CHECK(made->namespaces[static_cast<int>(Namespace::user)].join == Join::host);
  CHECK(made->namespaces[static_cast<int>(Namespace::time)].join == Join::host);

  const auto mounts = made.list(made->mounts);
  REQUIRE(mounts.size() > 8);
  CHECK(made.text(mounts[0].at) == "/");
  CHECK(mounts[0].kind == plan::MountKind::bind);
  CHECK(mounts[0].flags ==
        (plan::kMountReadOnly | plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive));
  CHECK(inode(made.fd(mounts[0].descriptor)) == inode("/"));
  for (const char* at : {"/run", "/tmp", "/var/tmp", "/home", "/root", "/mnt", "/media"}) {
    REQUIRE_MESSAGE(made.mount(at), at);
    if (self().home() != at) CHECK(made.mount(at)->kind == plan::MountKind::tmpfs);
  }
  CHECK(made.mount("/tmp")->mode == 01777);
  CHECK(made.mount("/proc")->kind == plan::MountKind::proc);
  CHECK(made.mount("/dev")->kind == plan::MountKind::dev);
  CHECK(made.mount("/sys/fs/cgroup")->kind == plan::MountKind::cgroup_view);
  const plan::Mount* workspace = made.mount(work.path());
  REQUIRE(workspace);
  CHECK(workspace->flags == (plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive));
  CHECK(inode(made.fd(workspace->descriptor)) == inode(work.path()));
  CHECK(made.text(made->cwd) == work.path());

  CHECK((made->flags & plan::kLoopbackUp) != 0);
  CHECK((made->flags & plan::kNoNewPrivs) != 0);
  CHECK((made->flags & plan::kNewKeyring) != 0);
  CHECK((made->flags & (plan::kKeepCapabilities | plan::kSetsid | plan::kPty)) == 0);
  CHECK(made->umask == 022);
  CHECK(made->nice == 0);
  CHECK(made->rlimits[RLIMIT_NOFILE].soft == 1024);
  CHECK(made->rlimits[RLIMIT_NOFILE].hard == 524288);
  CHECK(made->rlimits[RLIMIT_NOFILE].set == 0);
  CHECK(made->rlimits[RLIMIT_CORE].hard == 1);
  const auto sysctls = made.list(made->sysctls);
  REQUIRE(sysctls.size() == 1);
  CHECK(made.text(sysctls[0].path) == "net/ipv4/ip_unprivileged_port_start");
  CHECK(made.text(sysctls[0].value) == "0");
  CHECK(made.text(made->profile) == "default");
}

TEST_CASE("without a workspace the default profile starts in /") {
  const Made made = make(R"("name": "x")");
  CHECK(made.text(made->cwd) == "/");
  CHECK(made.text(made->name) == "x");
}

TEST_CASE("/var/run is left out where it is a link to /run") {
  const Made made = make(R"("name": "x")");
  CHECK((made.mount("/var/run") == nullptr) == fs::is_symlink("/var/run"));
}

TEST_CASE("the home is a scratch directory, but never over a system directory") {
  Caller caller = self();
  caller.known_home = "/home/someone";
  REQUIRE(make(R"("name": "x")", {}, caller).mount("/home/someone"));
  CHECK(make(R"("name": "x")", {}, caller).mount("/home/someone")->kind ==
        plan::MountKind::scratch);
  for (const char* home : {"", "/", "/usr/sbin", "/dev", "relative"}) {
    caller.known_home = home;
    const Made made = make(R"("name": "x")", {}, caller);
    for (const auto& mount : made.list(made->mounts)) CHECK(mount.kind != plan::MountKind::scratch);
  }
  // A private place is not the system's any more.
  caller.known_home = "/root";
  const Made made = make(R"("name": "x")", {}, caller);
  CHECK(made.mount("/root")->kind == plan::MountKind::scratch);
  refused_as(R"("mounts": [{"at": "/usr/lib", "scratch": {}}])", "mounts./usr/lib");
}

// core(5): with 0 a handler behind a pipe is started all the same.
TEST_CASE("in every profile but none a crash feeds no core dump handler") {
  for (const auto& listed : profiles().list([] { return std::string(); })) {
    if (listed.name == "none") continue;
    CAPTURE(listed.name);
    Request asked;
    asked.argv = {"a"};
    asked.profile = listed.name;
    if (listed.name == "machine") asked.root = "/srv/debian";
    Caller caller = self();
    caller.ids = plan::kSubuids | plan::kSubgids | plan::kLeasedBlocks | plan::kLeasedIds;
    const auto effective = complete(asked, profiles(), caller);
    if (!effective) FAIL(effective.error().reason);
    const auto& core = effective->request.rlimits.at("RLIMIT_CORE");
    CHECK(core.soft == 1u);
    CHECK(core.hard == 1u);
  }
}

TEST_CASE("the profile none leaves everything as the caller has it") {
  const mode_t old_umask = ::umask(031);
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const Made made = make(R"("profile": "none")");
  ::umask(old_umask);
  CHECK(made->umask == 031);
  CHECK(made->mounts.count == 0);
  for (const auto& choice : made->namespaces) CHECK(choice.join == plan::Join::host);
  CHECK(made->rlimits[RLIMIT_NOFILE].soft == limit.rlim_cur);
  CHECK(made->rlimits[RLIMIT_NOFILE].hard == limit.rlim_max);
  for (const auto& each : made->rlimits) CHECK(each.set == 1);
  CHECK(made->nice == ::getpriority(PRIO_PROCESS, 0));
  cpu_set_t cpus;
  REQUIRE(::sched_getaffinity(0, sizeof cpus, &cpus) == 0);
  for (uint32_t cpu = 0; cpu < 1024; ++cpu)
    CHECK(((made->affinity[cpu / 8] >> cpu % 8) & 1) == (CPU_ISSET(cpu, &cpus) ? 1 : 0));
  int32_t score = -1;
  std::ifstream("/proc/self/oom_score_adj") >> score;
  CHECK(made->oom_score_adj == score);
  CHECK(made.text(made->cwd) == fs::current_path());
  CHECK((made->flags & plan::kKeepCapabilities) != 0);
  CHECK((made->flags & plan::kNoNewPrivs) == 0);

  Caller caller = self();
  caller.no_new_privs = true;
  CHECK((make(R"("profile": "none")", {}, caller)->flags & plan::kNoNewPrivs) != 0);
  CHECK(make(R"("profile": "none", "umask": "077", "nice": 3)")->umask == 077);
}

TEST_CASE("a caller that is gone is an error, not a set of defaults") {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  Caller caller = self();
  caller.pid = child;
  CHECK(refused_as(R"("profile": "none")", "umask", {}, caller).kind == Problem::Kind::failed);
}

TEST_CASE("origins tell the constant, the profile, the caller and the request apart") {
  Request request;
  request.argv = {"a"};
  request.profile = "none";
  request.nice = 4;
  const auto effective = complete(request, profiles(), self());
  REQUIRE(effective.has_value());
  CHECK(effective->origins.at("nice") == "request");
  CHECK(effective->origins.at("umask") == "caller");
  CHECK(effective->origins.at("defaults") ==
        "profile none, " + std::string(PROFILES) + "/none.json");
  CHECK(effective->origins.at("timer_slack_ns") == "constant");
}

TEST_CASE("limits that were asked for are marked, others give way to the caller's") {
  const Made made = make(R"("rlimits": {"RLIMIT_CPU": {"soft": 5, "hard": "unlimited"}})");
  CHECK(made->rlimits[RLIMIT_CPU].set == 1);
  CHECK(made->rlimits[RLIMIT_CPU].soft == 5);
  CHECK(made->rlimits[RLIMIT_CPU].hard == RLIM_INFINITY);
  CHECK(made->rlimits[RLIMIT_STACK].set == 0);
  CHECK(made->rlimits[RLIMIT_STACK].soft == 8 << 20);
}

TEST_CASE("profiles build on profiles, and broken ones fail the load") {
  const TempDir at;
  at.write("base.json", R"({"nice": 5, "umask": "0077" /* ours */, "defaults": "caller"})");
  at.write("build.json", R"({"profile": "base", "nice": 6})");
  at.write("notes.txt", "not a profile");
  const auto loaded = load({at.path()});
  REQUIRE_MESSAGE(loaded.has_value(), loaded.error().reason);
  const auto nowhere = [] { return std::string(); };
  const auto known = loaded->list(nowhere);
  REQUIRE(known.size() == 2);
  CHECK(known[0].name == "base");
  CHECK(known[1].name == "build");
  CHECK(known[1].base == "base");
  Request request;
  request.argv = {"a"};
  request.profile = "build";
  const auto effective = complete(request, *loaded, self());
  REQUIRE(effective.has_value());
  CHECK(effective->request.nice == 6);
  CHECK(effective->origins.at("umask") == "profile base, " + (at / "base.json"));
  CHECK(effective->request.profile == "build");

  request.profile = "../build";
  CHECK(complete(request, *loaded, self()).error().field == "profile");
  request.profile.reset();
  CHECK(complete(request, *loaded, self()).error().field == "profile");  // no "default" here

  const std::string bad = at.write("bad.json", R"({"nicest": 5})");
  CHECK(load({at.path()}).error().field == "nicest");
  CHECK(load({at.path()}).error().reason.find(bad) != std::string::npos);
  at.write("bad.json", R"({"profile": "missing"})");
  CHECK(load({at.path()}).error().field == "profile");
  at.write("bad.json", R"({"profile": "worse"})");
  at.write("worse.json", R"({"profile": "bad"})");
  CHECK(load({at.path()}).error().field == "profile");
  CHECK(load({at / "nowhere"}).error().kind == Problem::Kind::failed);
  CHECK(Profiles::load({{Profiles::Directory{at / "nowhere", false, true}}}).has_value());
}

TEST_CASE(
    "an administrator's profile takes the place of a shipped one, and only root may write it") {
  const TempDir shipped, etc;
  shipped.write("build.json", R"({"nice": 1})");
  shipped.write("plain.json", R"({"profile": "build"})");
  const std::string file = etc.write("build.json", R"({"nice": 2})");
  const Profiles::Directory both[] = {{shipped.path()}, {etc.path(), true, true}};
  const auto nowhere = [] { return std::string(); };
  const auto loaded = Profiles::load(both);
  REQUIRE(loaded.has_value());
  CHECK(loaded->layers("plain", nowhere)->at(0).request.nice == 2);
  CHECK(loaded->layers("plain", nowhere)->at(0).origin == "profile build, " + file);
  REQUIRE(::chmod(file.c_str(), 0666) == 0);
  CHECK(Profiles::load(both).error().field == "profile");
  CHECK(Profiles::load(both).error().reason.find(file) != std::string::npos);
}

TEST_CASE("a caller's own profiles add names and never take one of root's") {
  const TempDir shipped, own;
  shipped.write("build.json", R"({"nice": 1})");
  own.write("build.json", R"({"nice": 9})");
  own.write("mine.json", R"({"profile": "build", "umask": "0077"})");
  own.write("loop.json", R"({"profile": "loop"})");
  own.write("wrong.json", R"({"nicest": 1})");
  own.write(".hidden.json", "{}");
  const auto loaded = load({shipped.path()});
  REQUIRE(loaded.has_value());
  const auto home = [&] { return own.path(); };
  CHECK(loaded->layers("build", home)->at(0).request.nice == 1);
  const auto mine = loaded->layers("mine", home);
  REQUIRE(mine.has_value());
  REQUIRE(mine->size() == 2);
  CHECK(mine->at(0).request.nice == 1);
  CHECK(mine->at(1).request.umask == 077u);
  CHECK(loaded->layers("loop", home).error().reason == "is based on itself");
  CHECK(loaded->layers("wrong", home).error().field == "nicest");
  for (const char* name : {"../build", "", "/etc/passwd", ".hidden", "absent"}) {
    CAPTURE(name);
    CHECK(loaded->layers(name, home).error().reason == "is unknown");
  }
  std::string broken;
  for (const auto& known : loaded->list(home))
    if (!known.problem.empty()) broken += known.name + ' ';
  CHECK(broken == "build loop wrong ");
}

TEST_CASE("a profile's word goes before what a request implies, and its unset takes it") {
  const TempDir at;
  at.write("default.json", R"({"umask": "0077", "env": {"HOME": "/work"},
                               "unset": ["workspace", "env.USER"]})");
  const auto loaded = load({at.path()});
  REQUIRE(loaded.has_value());
  Request request = *parse(R"({"argv": ["a"], "umask": "0027", "nice": 7,
      "workspace": {"path": "/w"}, "env": {"HOME": "/h", "USER": "u", "TZ": "UTC", "A": "a"},
      "implied": ["umask", "nice", "workspace", "env.HOME", "env.USER", "env.TZ"]})");
  const auto effective = complete(request, *loaded, self());
  REQUIRE_MESSAGE(effective.has_value(), effective.error().reason);
  CHECK(effective->request.umask == 077u);
  CHECK(effective->request.nice == 7);
  CHECK(effective->origins.at("nice") == request::kFromCaller);
  CHECK_FALSE(effective->request.workspace.has_value());
  CHECK(effective->request.env ==
        std::map<std::string, std::string>{{"HOME", "/work"}, {"TZ", "UTC"}, {"A", "a"}});
  // Said outright, all of it holds.
  request.implied.clear();
  request.workspace.reset();
  const auto outright = complete(request, *loaded, self());
  REQUIRE_MESSAGE(outright.has_value(), outright.error().reason);
  CHECK(outright->request.umask == 027u);
  CHECK(outright->request.env.at("HOME") == "/h");
  CHECK(outright->request.env.at("USER") == "u");
  CHECK(outright->origins.at("nice") == request::kFromRequest);
}

TEST_CASE("env_pass takes the caller's variables by glob, below the request's own") {
  const TempDir at;
  at.write("default.json", R"({"env_pass": ["CLOISTER_T*"]})");
  const auto loaded = load({at.path()});
  REQUIRE(loaded.has_value());
  int ready[2];
  REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const char* const argv[] = {"sleep", "60", nullptr};
    const char* const env[] = {"CLOISTER_TA=1", "CLOISTER_TB=2", "OTHER=3", nullptr};
    ::execve("/bin/sleep", const_cast<char**>(argv), const_cast<char**>(env));
    ::_exit(127);
  }
  ::close(ready[1]);
  char none;
  CHECK(::read(ready[0], &none, 1) == 0);  // closed by exec
  ::close(ready[0]);
  Caller caller = self();
  caller.pid = child;
  Request request;
  request.argv = {"a"};
  request.env["CLOISTER_TB"] = "mine";
  const auto effective = complete(request, *loaded, caller);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE_MESSAGE(effective.has_value(), effective.error().reason);
  CHECK(effective->request.env ==
        std::map<std::string, std::string>{{"CLOISTER_TA", "1"}, {"CLOISTER_TB", "mine"}});
  CHECK(effective->origins.at("env.CLOISTER_TA") == "caller");
}

TEST_CASE("env_pass of a caller that cannot be read is refused, unless it may be given up") {
  const TempDir at;
  at.write("default.json", R"({"env_pass": ["CLOISTER_T*"]})");
  at.write("own.json", R"({"profile": "default", "env_pass": ["X"], "best_effort": ["env_pass"]})");
  at.write("above.json", R"({"profile": "own", "env_pass": ["Y"]})");
  const auto loaded = load({at.path()});
  REQUIRE(loaded.has_value());
  Caller caller = self();
  caller.pid = INT32_MAX;  // above every pid_max, proc(5)
  Request request;
  request.argv = {"a"};
  CHECK(complete(request, *loaded, caller).error().field == "env_pass");
  // One layer's leave does not cover what a layer above it asks for.
  request.profile = "above";
  CHECK(complete(request, *loaded, caller).error().field == "env_pass");
  for (const char* profile : {"own", "default"}) {
    request.profile = profile;
    const auto effective = complete(request, *loaded, caller);
    REQUIRE_MESSAGE(effective.has_value(), effective.error().reason);
    CHECK(effective->degraded == std::vector<std::string>{"env_pass"});
    request.best_effort = {"env_pass"};
  }
}
