// Requests become Plans: what is opened as the client, what is refused, and
// what init will read in the block. Runs as anyone; root makes itself nobody
// where rights are the point.
#include "resolve/resolve.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "outcome.hpp"
#include "plan/view.hpp"
#include "resolve/landlock.hpp"

using namespace cloister;
using namespace cloister::front;
namespace fs = std::filesystem;

namespace {

using Fds = std::vector<sys::UniqueFd>;

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/cloister-resolve-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
    REQUIRE(::chmod(name, 0755) == 0);
  }
  ~TempDir() { fs::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + '/' + std::string(name); }
  const std::string& path() const { return path_; }
  std::string write(std::string_view name, std::string_view text) const {
    std::ofstream(*this / name) << text;
    return *this / name;
  }
  std::string make(std::string_view name) const {
    fs::create_directories(*this / name);
    return *this / name;
  }

 private:
  std::string path_;
};

request::Result<Profiles> load(std::vector<std::string> paths) {
  std::vector<Profiles::Directory> directories;
  for (std::string& path : paths) directories.push_back({std::move(path)});
  return Profiles::load(directories);
}

const Profiles& profiles() {
  static const auto kProfiles = load({CLOISTER_PROFILES});
  REQUIRE_MESSAGE(kProfiles.has_value(), kProfiles.error().reason);
  return *kProfiles;
}

Caller self() {
  plan::Peer peer{};
  peer.uid = ::geteuid();
  peer.gid = ::getegid();
  peer.pid = ::getpid();
  std::vector<gid_t> groups(static_cast<size_t>(::getgroups(0, nullptr)));
  if (!groups.empty()) REQUIRE(::getgroups(static_cast<int>(groups.size()), groups.data()) >= 0);
  return make_caller(peer, {groups.begin(), groups.end()});
}

struct Made {
  Resolved resolved;
  std::vector<uint64_t> block;  // aligned as a mapping is
  plan::View view{nullptr};

  const plan::Header* operator->() const { return &view.header(); }
  std::string text(plan::Text text) const { return {view.c_str(text), text.length}; }
  template <class T>
  std::vector<T> list(plan::Span<T> span) const {
    return {view.begin(span), view.begin(span) + span.count};
  }
  std::vector<std::string> texts(plan::Span<plan::Text> span) const {
    std::vector<std::string> all;
    for (const plan::Text& each : list(span)) all.push_back(text(each));
    return all;
  }
  const plan::Mount* mount(std::string_view at) const {
    for (uint32_t i = 0; i < view->mounts.count; ++i)
      if (text(view.at(view->mounts, i).at) == at) return &view.at(view->mounts, i);
    return nullptr;
  }
  // Of the mounts that the request names; what is covered for root comes after them.
  plan::Mount last() const {
    plan::Mount found{};
    for (const plan::Mount& mount : list(view->mounts))
      if (mount.kind != plan::MountKind::mask && mount.kind != plan::MountKind::lock) found = mount;
    return found;
  }
  int fd(uint32_t descriptor) const { return resolved.descriptors.at(descriptor).borrow(); }
};

request::Result<Resolved> try_resolve(std::string_view members, Fds passed = {},
                                      const Caller& caller = self(), const Asked& asked = {}) {
  const auto request = parse(R"({"argv": ["prog"], )" + std::string(members) + '}');
  REQUIRE_MESSAGE(request.has_value(), request.error().field, ' ', request.error().reason);
  const auto effective = complete(*request, profiles(), caller);
  if (!effective) return effective.error();
  return resolve(*effective, std::move(passed), caller, asked);
}

Made make(std::string_view members, Fds passed = {}, const Caller& caller = self(),
          const Asked& asked = {}) {
  CAPTURE(members);
  auto resolved = try_resolve(members, std::move(passed), caller, asked);
  REQUIRE_MESSAGE(resolved.has_value(), resolved.error().field, ' ', resolved.error().reason);
  Made made;
  made.resolved = *std::move(resolved);
  const std::string& block = made.resolved.plan_block;
  made.block.resize((block.size() + 7) / 8);
  std::memcpy(made.block.data(), block.data(), block.size());
  REQUIRE(plan::check(made.block.data(), block.size()) == plan::Flaw::none);
  made.view = plan::View(made.block.data());
  CHECK(made->descriptors.count == made.resolved.descriptors.size());
  return made;
}

Problem refused_as(std::string_view members, std::string_view field, Fds passed = {},
                   const Caller& caller = self()) {
  CAPTURE(members);
  const auto resolved = try_resolve(members, std::move(passed), caller);
  CHECK(resolved.has_error());
  if (resolved) return {};
  CHECK(resolved.error().field == field);
  CHECK_FALSE(resolved.error().reason.empty());
  return resolved.error();
}

sys::UniqueFd open_fd(const std::string& path, int flags = O_RDONLY) {
  sys::UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  REQUIRE_MESSAGE(fd, path);
  return fd;
}

template <class... Fd>
Fds fds(Fd... fd) {
  Fds list;
  (list.push_back(std::move(fd)), ...);
  return list;
}

// Root without its powers over files, for one scope.
class Nobody {
 public:
  Nobody() { REQUIRE(::seteuid(65534) == 0); }
  ~Nobody() { REQUIRE(::seteuid(0) == 0); }
};

sys::UniqueFd pidfd_of(pid_t pid) {
  return sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

uint64_t inode(int fd) {
  struct stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  return status.st_ino;
}

uint64_t inode(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_ino;
}

constexpr const char* kPlain = R"("profile": "none", "cwd": "/")";
std::string plain(std::string_view members) {
  return std::string(kPlain) + ", " + std::string(members);
}

}  // namespace

TEST_CASE("the default profile is a box: root read-only, private places, workspace last") {
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
    CHECK(made.mount(at)->kind == plan::MountKind::tmpfs);
  }
  CHECK(made.mount("/tmp")->mode == 01777);
  CHECK(made.mount("/proc")->kind == plan::MountKind::proc);
  CHECK(made.mount("/dev")->kind == plan::MountKind::dev);
  CHECK(made.mount("/sys/fs/cgroup")->kind == plan::MountKind::cgroup_view);
  CHECK(made.text(made.last().at) == work.path());
  CHECK(made.last().flags == (plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive));
  CHECK(inode(made.fd(made.last().descriptor)) == inode(work.path()));
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
  CHECK(made.last().kind == plan::MountKind::scratch);
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
        "profile none, " + std::string(CLOISTER_PROFILES) + "/none.json");
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

TEST_CASE("streams become actions before the file actions") {
  const TempDir at;
  const Made nothing = make(kPlain);
  CHECK(nothing->actions.count == 0);
  const Made made = make(plain(R"(
      "stdin": {"path": "in"}, "stdout": {"passed_fd": 1}, "stderr": "stdout",
      "file_actions": [
        {"open": {"fd": 4, "path": "log", "flags": ["O_WRONLY", "O_CREAT"], "mode": "0640"}},
        {"dup2": {"fd": 4, "new_fd": 5, "inheritable": false}}, {"close": {"fd": 0}},
        {"closerange": {"fd_low": 6, "fd_high": 9}},
        {"receive": {"passed_fd": 0, "fd": 7, "directory": true}}, {"chdir": {"path": "sub"}},
        {"fchdir": {"fd": 7}}, {"tcsetpgrp": {"fd": 3}}])"),
                         fds(open_fd(at.path()), open_fd("/dev/null", O_WRONLY)));
  const auto actions = made.list(made->actions);
  REQUIRE(actions.size() == 11);
  using plan::Op;
  const Op order[] = {Op::open,        Op::receive, Op::dup2,  Op::open,   Op::dup2,     Op::close,
                      Op::close_range, Op::receive, Op::chdir, Op::fchdir, Op::tcsetpgrp};
  for (size_t i = 0; i < actions.size(); ++i) {
    CHECK(actions[i].op == order[i]);
    CHECK(actions[i].index == (i < 3 ? plan::kNone : i - 3));
  }
  CHECK(actions[0].flags == O_RDONLY);
  CHECK(made.text(actions[0].path) == "in");
  CHECK(actions[1].fd == 1);
  CHECK(inode(made.fd(actions[1].descriptor)) == inode("/dev/null"));
  CHECK((actions[2].fd == 1 && actions[2].new_fd == 2 && actions[2].flags == 0));
  CHECK((actions[3].flags == (O_WRONLY | O_CREAT) && actions[3].mode == 0640));
  CHECK((actions[4].fd == 4 && actions[4].new_fd == 5 && actions[4].flags == 1));
  CHECK((actions[6].fd == 6 && actions[6].new_fd == 9));
  CHECK(made.list(made->descriptors)[actions[7].descriptor].directory_granted == 1);
  CHECK(made.list(made->descriptors)[actions[1].descriptor].directory_granted == 0);
  CHECK(inode(made.fd(actions[7].descriptor)) == inode(at.path()));
  const Made output = make(plain(R"("stdout": {"path": "/out"})"));
  CHECK(output.list(output->actions)[0].flags == (O_WRONLY | O_CREAT | O_TRUNC));
  CHECK(output.list(output->actions)[0].mode == 0666);
}

TEST_CASE("inline stdin is a sealed file that can only be read") {
  const Made made = make(plain(R"("stdin": {"base64": "YQBiCg=="})"));
  const auto actions = made.list(made->actions);
  REQUIRE(actions.size() == 1);
  const int fd = made.fd(actions[0].descriptor);
  char bytes[16];
  REQUIRE(::read(fd, bytes, sizeof bytes) == 4);
  CHECK(std::memcmp(bytes, "a\0b\n", 4) == 0);
  CHECK(::write(fd, "x", 1) == -1);
  CHECK((::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK(::fcntl(fd, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
}

TEST_CASE("a terminal brings a session with it") {
  const Made pty =
      make(R"("stdin": "pty", "stdout": "pty", "terminal": {"rows": 24, "columns": 80})");
  CHECK((pty->flags & (plan::kPty | plan::kSetsid)) == (plan::kPty | plan::kSetsid));
  CHECK((pty->rows == 24 && pty->columns == 80));
  CHECK(pty.list(pty->actions)[1].op == plan::Op::pty);
  const Made passed = make(plain(R"("stdin": {"passed_fd": 0}, "terminal": {"controlling_fd": 0})"),
                           fds(open_fd("/dev/null")));
  CHECK((passed->flags & (plan::kPty | plan::kSetsid)) == plan::kSetsid);
  CHECK(passed->controlling_fd == 0);
}

TEST_CASE("what a file holds travels in a sealed memfd, and no answer shows it") {
  const Made made = make(R"("mounts": [{"at": "/etc/motd", "file": {"text": "hush"}}])");
  const plan::Mount* const file = made.mount("/etc/motd");
  REQUIRE(file);
  CHECK(file->kind == plan::MountKind::file);
  CHECK(file->flags == (plan::kMountReadOnly | plan::kMountIsFile));
  const int fd = made.fd(file->descriptor);
  char bytes[8] = {};
  CHECK(::pread(fd, bytes, sizeof bytes, 0) == 4);
  CHECK(std::string(bytes) == "hush");
  CHECK((::fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) != 0);
  CHECK(made.text(made->request_json).find("hush") == std::string::npos);
}

TEST_CASE("a scratch directory is in memory unless it is asked for on disk") {
  const Made made = make(R"("mounts": [{"at": "/d", "scratch": {"on": "disk"}},
                              {"at": "/m", "scratch": {"on": "memory"}}, {"at": "/n", "scratch": {}}])");
  CHECK((made.mount("/d")->flags & plan::kMountOnDisk) != 0);
  CHECK((made.mount("/m")->flags & plan::kMountOnDisk) == 0);
  CHECK((made.mount("/n")->flags & plan::kMountOnDisk) == 0);
}

TEST_CASE("more binds than descriptors may be open are refused by the name of the limit") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  std::string mounts = "\"mounts\": [";
  for (int i = 0; i < 100; ++i)
    mounts += (i ? ", " : "") + std::string(R"({"bind": "/usr", "at": "/b)") + std::to_string(i) + "\"}";
  rlimit few = before;
  few.rlim_cur = 64;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const auto resolved = try_resolve(mounts + "]");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(resolved.has_value());
  CHECK(resolved.error().field.starts_with("mounts./b"));
  CHECK(resolved.error().error == EMFILE);
  CHECK(resolved.error().reason.find("RLIMIT_NOFILE of the service is 64") != std::string::npos);
}

TEST_CASE("every passed descriptor is used exactly once") {
  const auto null = [] { return open_fd("/dev/null", O_RDWR); };
  CHECK(refused_as(plain(R"("name": "x")"), "", fds(null())).got == "0");
  CHECK(refused_as(plain(R"("stdin": {"passed_fd": 0})"), "", fds(null(), null())).got == "1");
  refused_as(plain(R"("stdin": {"passed_fd": 0})"), "stdin.passed_fd");
  refused_as(plain(R"("stdin": {"passed_fd": 0}, "stdout": {"passed_fd": 0})"), "stdout.passed_fd",
             fds(null()));
  refused_as(plain(R"("file_actions": [{"receive": {"passed_fd": 0, "fd": 5}},
                                       {"receive": {"passed_fd": 0, "fd": 6}}])"),
             "file_actions[1].receive.passed_fd", fds(null()));
  refused_as(plain(R"("executable": {"passed_fd": 1})"), "executable.passed_fd", fds(null()));
  refused_as(R"("profile": "none", "cwd": {"passed_fd": 7})", "cwd.passed_fd");
  refused_as(R"("mounts": [{"at": "/d", "bind": {"passed_fd": 3}}])", "mounts./d.bind.passed_fd");
  refused_as(plain(R"("namespaces": {"uts": {"passed_fd": 0}}, "stdin": {"passed_fd": 0})"),
             "stdin.passed_fd", fds(open_fd("/proc/self/ns/uts")));
  const Made made =
      make(R"("profile": "none", "cwd": {"passed_fd": 1}, "executable": {"passed_fd": 0})",
           fds(open_fd("/bin/true"), open_fd("/tmp")));
  CHECK(inode(made.fd(made->cwd_descriptor)) == inode("/tmp"));
  CHECK(inode(made.fd(made->executable_descriptor)) == inode("/bin/true"));
  CHECK((made->flags & plan::kSearchPath) == 0);
}

TEST_CASE("the program, its arguments and its environment are bytes") {
  const Made made = make(plain(R"("env": {"PATH": "/x:/y", "B": {"base64": "/w=="}, "E": ""})"));
  CHECK(made.text(made->executable) == "prog");
  CHECK(made.texts(made->argv) == std::vector<std::string>{"prog"});
  CHECK(made.texts(made->env) == std::vector<std::string>{"B=\xff", "E=", "PATH=/x:/y"});
  CHECK(made.text(made->search) == "/x:/y");
  CHECK((made->flags & plan::kSearchPath) != 0);
  CHECK(make(kPlain).text(make(kPlain)->search) == "/bin:/usr/bin");
  CHECK((make(plain(R"("executable": "./prog")"))->flags & plan::kSearchPath) == 0);
  CHECK((make(plain(R"("search_path": false)"))->flags & plan::kSearchPath) == 0);
  const Made other = make(plain(R"("executable": "sh")"));
  CHECK(other.text(other->executable) == "sh");
  const auto request = parse(R"({"profile": "none", "argv": [")" + std::string(5000, 'x') + "\"]}");
  const auto effective = complete(*request, profiles(), self());
  CHECK(resolve(*effective, {}, self(), {}).error().field == "argv[0]");
}

TEST_CASE("identities are numbers at the end") {
  const Caller caller = self();
  const Made own = make(kPlain);
  CHECK(own->identity.ruid == caller.uid);
  CHECK(own->identity.sgid == caller.gid);
  CHECK(own->identity.caller_groups == 1);
  CHECK(own.list(own->identity.groups) == caller.groups);

  const Made root = make(plain(R"("identity": {"user": "root"})"));
  CHECK(root->identity.suid == 0);
  CHECK(root->identity.caller_groups == 0);
  const auto groups = root.list(root->identity.groups);
  CHECK(std::count(groups.begin(), groups.end(), 0u) == 1);

  const Made ids = make(plain(R"("identity": {"ruid": "root", "suid": 7, "egid": "tty"})"));
  CHECK((ids->identity.ruid == 0 && ids->identity.euid == 0 && ids->identity.suid == 7));
  CHECK((ids->identity.rgid == caller.gid && ids->identity.egid == 5 && ids->identity.sgid == 5));
  CHECK(ids->identity.groups.count == 0);
  CHECK(ids->identity.caller_groups == 0);

  const Made same = make(plain("\"identity\": {\"ruid\": " + std::to_string(caller.uid) + '}'));
  CHECK(same->identity.caller_groups == 1);
  const Made listed = make(plain(R"("identity": {"groups": [9, "tty"]})"));
  CHECK(listed.list(listed->identity.groups) == std::vector<uint32_t>{9, 5});
  const Made init = make(plain(R"("identity": {"initgroups": "root"})"));
  CHECK(init->identity.ruid == caller.uid);
  const auto of_root = init.list(init->identity.groups);
  CHECK(std::count(of_root.begin(), of_root.end(), caller.gid) == 1);

  refused_as(plain(R"("identity": {"user": "no such user"})"), "identity.user");
  refused_as(plain(R"("identity": {"euid": "no such user"})"), "identity.euid");
  refused_as(plain(R"("identity": {"groups": [1, "no such group"]})"), "identity.groups[1]");
  refused_as(plain(R"("identity": {"initgroups": "no such user"})"), "identity.initgroups");
}

TEST_CASE("namespaces are joined by file, by pidfd and by job") {
  const Made file =
      make(plain(R"("namespaces": {"uts": {"passed_fd": 0}})"), fds(open_fd("/proc/self/ns/uts")));
  const auto& uts = file->namespaces[static_cast<int>(plan::Namespace::uts)];
  CHECK(uts.join == plan::Join::descriptor);
  CHECK(inode(file.fd(uts.descriptor)) == inode("/proc/self/ns/uts"));

  CHECK(refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}})"), "namespaces.net.passed_fd",
                   fds(open_fd("/proc/self/ns/uts")))
            .got == "uts");
  refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}})"), "namespaces.net.passed_fd",
             fds(open_fd("/dev/null")));

  const Made process =
      make(plain(R"("namespaces": {"net": {"passed_fd": 0}, "uts": {"passed_fd": 0},
                                                    "user": {"passed_fd": 0}})"),
           fds(pidfd_of(::getpid())));
  CHECK(process->descriptors.count == 3);
  for (const auto& [which, name] :
       {std::pair(plan::Namespace::net, "net"), std::pair(plan::Namespace::uts, "uts"),
        std::pair(plan::Namespace::user, "user")}) {
    const auto& choice = process->namespaces[static_cast<int>(which)];
    CHECK(inode(process.fd(choice.descriptor)) == inode(std::string("/proc/self/ns/") + name));
  }
  refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}}, "stdin": {"passed_fd": 0})"),
             "stdin.passed_fd", fds(pidfd_of(::getpid())));

  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  auto dead = pidfd_of(child);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}})"), "namespaces.net.passed_fd",
             fds(std::move(dead)));

  const Made job =
      make(plain(R"("namespaces": {"net": {"job": "j-000102030405060708090a0b0c0d0e0f"}})"));
  const auto& net = job->namespaces[static_cast<int>(plan::Namespace::net)];
  CHECK(net.join == plan::Join::job);
  for (uint8_t i = 0; i < 16; ++i) CHECK(net.job[i] == i);
  for (const char* id : {"j-1", "", "j-000102030405060708090a0b0c0d0e0g"})
    if (*id)
      refused_as(plain("\"namespaces\": {\"net\": {\"job\": \"" + std::string(id) + "\"}}"),
                 "namespaces.net.job");
}

TEST_CASE("published ports are numbers at the end") {
  const Made made = make(
      R"("network": {"outbound": {"publish": [{"port": 80, "host_port": 8080},
                                              {"port": 53, "address": "::1", "protocol": "udp"}]}})");
  CHECK((made->flags & plan::kOutbound) != 0);
  CHECK((made->flags & plan::kLoopbackUp) != 0);
  const auto ports = made.list(made->published);
  REQUIRE(ports.size() == 2);
  const auto address = [](const plan::Published& port) {
    return std::vector<uint8_t>(port.address, port.address + 16);
  };
  CHECK(address(ports[0]) == std::vector<uint8_t>{127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(address(ports[1]) == std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK((ports[0].family == plan::kInet && ports[1].family == plan::kInet6));
  CHECK((ports[0].port == 80 && ports[0].host_port == 8080 && ports[0].udp == 0));
  CHECK((ports[1].port == 53 && ports[1].host_port == 53 && ports[1].udp == 1));
  refused_as(R"("network": {"outbound": {"publish": [{"port": 1, "address": "localhost"}]}})",
             "network.outbound.publish[0].address");
  CHECK((make("\"network\": \"none\"")->flags & plan::kOutbound) == 0);
}

TEST_CASE("an outbound job gets a resolv.conf where that of its root leads to") {
  if (::access("/etc/resolv.conf", R_OK) != 0) SKIP("this host has no resolver");
  char root[] = "/tmp/cloister-root-XXXXXX";
  REQUIRE(::mkdtemp(root));
  REQUIRE(::mkdir((std::string(root) + "/etc").c_str(), 0755) == 0);
  const std::string link = std::string(root) + "/etc/resolv.conf";
  const std::string members = R"("profile": "none", "namespaces": {"mnt": "new"}, "root": ")" +
                              std::string(root) + R"(", "network": {"outbound": {}})";
  const auto is_file = [](const plan::Mount* mount) {
    return mount && mount->kind == plan::MountKind::file;
  };
  CHECK(is_file(make(members).mount("/etc/resolv.conf")));
  for (const char* target : {"../run/a/b.conf", "/run/a/b.conf", "../../run/./a/b.conf"}) {
    CAPTURE(std::string(target));
    REQUIRE(::symlink(target, link.c_str()) == 0);
    CHECK(is_file(make(members).mount("/run/a/b.conf")));
    ::unlink(link.c_str());
  }
  // Where the request says what it is, it is that.
  const Made own =
      make(members + R"(, "mounts": [{"at": "/etc/resolv.conf", "bind": "/etc/resolv.conf"}])");
  CHECK(own.mount("/etc/resolv.conf")->kind == plan::MountKind::bind);
  CHECK(make(R"("profile": "none", "network": {"outbound": {}})")->mounts.count == 0);
  ::rmdir((std::string(root) + "/etc").c_str());
  ::rmdir(root);
}

TEST_CASE("bind sources are opened as the client, or refused") {
  const TempDir at;
  const std::string file = at.write("file", "x");
  const auto bind = [](const std::string& source, std::string_view more = "") {
    return "\"mounts\": [{\"at\": \"/data\", \"bind\": \"" + source + '"' + std::string(more) +
           "}]";
  };
  const Made made = make(bind(file));
  REQUIRE(made.mount("/data"));
  CHECK(made.mount("/data")->flags ==
        (plan::kMountReadOnly | plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive |
         plan::kMountIsFile));
  CHECK(made.text(made.mount("/data")->source) == file);
  CHECK((::fcntl(made.fd(made.mount("/data")->descriptor), F_GETFL) & O_PATH) != 0);
  fs::create_symlink("file", at / "link");
  const Made linked = make(bind(at / "link"));
  CHECK(linked.text(linked.mount("/data")->source) == file);
  CHECK(
      make(bind(at.path(), R"(, "access": "rw", "nosuid": false, "nodev": false, "recursive": false,
                                 "noexec": true, "noatime": true)"))
          .mount("/data")
          ->flags == (plan::kMountNoExec | plan::kMountNoAtime));

  CHECK(refused_as(bind(at / "missing"), "mounts./data").error == ENOENT);
  CHECK(make(bind(at / "missing", R"(, "optional": true)")).mount("/data") == nullptr);
  CHECK(make(bind(file + "/x", R"(, "optional": true)")).mount("/data") == nullptr);

  const Made passed = make(R"("mounts": [{"at": "/data", "bind": {"passed_fd": 0}}])",
                           fds(open_fd(at.path(), O_PATH)));
  CHECK(passed.text(passed.mount("/data")->source) == at.path());
  CHECK(passed.list(passed->descriptors)[passed.mount("/data")->descriptor].use ==
        plan::Use::mount);

  Caller caller = self();
  caller.known_home = at.path();
  const Made home = make(bind("~/file"), {}, caller);
  CHECK(home.text(home.mount("/data")->source) == file);
  caller.known_home = "";
  refused_as(bind("~/file"), "mounts./data", {}, caller);
}

TEST_CASE("what the client cannot read itself is not bound, opened by path or passed") {
  const TempDir at;
  const std::string secret = at.make("secret");
  at.write("secret/inside", "x");
  fs::permissions(secret, fs::perms::none);
  at.write("file", "x");
  fs::permissions(at / "file", fs::perms::none);
  auto held = open_fd(secret, O_PATH);
  std::optional<Nobody> nobody;
  if (::access((at / "file").c_str(), R_OK) == 0) nobody.emplace();
  CHECK(refused_as("\"mounts\": [{\"at\": \"/d\", \"bind\": \"" + secret + "\"}]", "mounts./d")
            .error == EACCES);
  CHECK(refused_as("\"mounts\": [{\"at\": \"/d\", \"bind\": \"" + (at / "secret/inside") +
                       "\", \"optional\": true}]",
                   "mounts./d")
            .error == EACCES);
  CHECK(
      refused_as("\"mounts\": [{\"at\": \"/d\", \"bind\": \"" + (at / "file") + "\"}]", "mounts./d")
          .error == EACCES);
  CHECK(refused_as(R"("mounts": [{"at": "/d", "bind": {"passed_fd": 0}}])", "mounts./d",
                   fds(std::move(held)))
            .error == EACCES);
  CHECK(refused_as("\"workspace\": {\"path\": \"" + secret + "\"}", "workspace.path").error ==
        EACCES);
  nobody.reset();
  fs::permissions(secret, fs::perms::owner_all);  // so that it can be removed
}

TEST_CASE("the other kinds of mounts keep their parameters") {
  const Made made = make(R"("namespaces": {"mnt": "new"}, "mounts": [
      {"at": "/t", "tmpfs": {"size": "1M", "inodes": 9, "mode": "0700"}, "access": "ro", "noexec": true},
      {"at": "/l", "symlink": "usr/bin"}, {"at": "/d", "dir": {"mode": "0711"}},
      {"at": "/s", "scratch": {}}])");
  const auto* tmpfs = made.mount("/t");
  CHECK((tmpfs->size == 1 << 20 && tmpfs->inodes == 9 && tmpfs->mode == 0700));
  CHECK(tmpfs->flags == (plan::kMountReadOnly | plan::kMountNoExec));
  CHECK(made.text(made.mount("/l")->data) == "usr/bin");
  CHECK(made.mount("/d")->mode == 0711);
  CHECK(made.mount("/s")->kind == plan::MountKind::scratch);
}

TEST_CASE("the root, homes, what holds them and system directories are no workspace") {
  const TempDir at;
  Caller caller = self();
  caller.known_home = at.make("people/me");
  const std::string project = at.make("people/me/project");
  const auto workspace = [](const std::string& path) {
    return "\"workspace\": {\"path\": \"" + path + "\"}";
  };
  const Made made = make(workspace(project + "/./"), {}, caller);
  CHECK(made.text(made.last().at) == project);
  const Made home = make(workspace("~/project"), {}, caller);
  CHECK(home.text(home->cwd) == project);
  fs::create_symlink("/", at / "root");
  fs::create_symlink("me", at / "people/alias");
  for (const std::string& path :
       {std::string("/"), std::string("//"), at / "root", at / "people/me", at / "people",
        at / "people/alias", at.path(), std::string("/usr"), std::string("/usr/bin"),
        std::string("/etc"), std::string("/tmp"), std::string("/proc/self"),
        std::string("/dev/shm"), std::string("/sys/fs"), at / "root/usr", std::string("~")})
    refused_as(workspace(path), "workspace.path", {}, caller);
  CHECK(refused_as(workspace(at / "missing"), "workspace.path", {}, caller).error == ENOENT);
  at.write("file", "x");
  CHECK(refused_as(workspace(at / "file"), "workspace.path", {}, caller).error == ENOTDIR);
  const Made readonly =
      make("\"cwd\": \"/\", \"workspace\": {\"path\": \"" + project + "\", \"access\": \"ro\"}", {},
           caller);
  CHECK((readonly.list(readonly->mounts).back().flags & plan::kMountReadOnly) != 0);
  CHECK(readonly.text(readonly->cwd) == "/");
}

TEST_CASE("numbers reach the plan as they are") {
  const Made made = make(plain(R"(
      "setsigmask": ["SIGHUP", 64], "setsigdef": ["SIGPIPE"], "nice": -3, "oom_score_adj": 7,
      "scheduler": {"policy": "SCHED_FIFO", "priority": 9, "reset_on_fork": true},
      "ioprio": {"class": "best_effort", "level": 2}, "personality": ["ADDR_NO_RANDOMIZE"],
      "setsid": true, "resetids": true, "setpgroup": 0, "affinity": [0],
      "unshare": ["CLONE_FS"], "tags": {"k": "v"}, "idempotency_key": "key",
      "lifetime": {"stop_signal": "SIGINT", "stop_timeout": "250ms", "setup_timeout": "1m"})"));
  CHECK(made->signal_mask == ((uint64_t{1} << 63) | 1));
  CHECK(made->signal_default == uint64_t{1} << (SIGPIPE - 1));
  CHECK(made->nice == -3);
  CHECK(made->oom_score_adj == 7);
  CHECK(made->scheduler.set == (plan::kHasPolicy | plan::kHasParameters | plan::kResetOnFork));
  CHECK((made->scheduler.policy == SCHED_FIFO && made->scheduler.priority == 9));
  CHECK(made->ioprio == IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 2));
  CHECK(made->personality == 0x0040000);
  CHECK(made->timer_slack_ns == 50'000);
  CHECK(make(R"("timer_slack_ns": 77)")->timer_slack_ns == 77);
  CHECK((made->flags & plan::kSetsid) != 0);
  CHECK((made->flags & plan::kResetIds) != 0);
  CHECK((made->flags & plan::kSetpgroup) != 0);
  CHECK(made->affinity[0] == 1);
  CHECK(made->unshare == CLONE_FS);
  CHECK(made.text(made.list(made->tags)[0].value) == "v");
  CHECK(made.text(made->idempotency_key) == "key");
  CHECK(made->stop_signal == SIGINT);
  CHECK(made->stop_timeout_ms == 250);
  CHECK(made->setup_timeout_ms == 60000);
  const Made deadline = make(plain(R"("scheduler": {"policy": "SCHED_DEADLINE", "runtime_ns": 1,
                                      "deadline_ns": 2, "period_ns": 3})"));
  CHECK((deadline->scheduler.runtime_ns == 1 && deadline->scheduler.period_ns == 3));
  const Made box = make(R"("hostname": "h", "domainname": "d", "time_offsets": {"monotonic_ns": -5},
      "namespaces": {"time": "new", "user": "new"},
      "uid_map": [{"inside": 0, "outside": 1000, "count": 1}])");
  CHECK(box.text(box->hostname) == "h");
  CHECK(box.text(box->domainname) == "d");
  CHECK((box->flags & plan::kTimeOffsets) != 0);
  CHECK((box->monotonic_offset_ns == -5 && box->boottime_offset_ns == 0));
  CHECK(box->namespaces[static_cast<int>(plan::Namespace::user)].join == plan::Join::fresh);
  CHECK(box.list(box->uid_map)[0].outside == 1000);
  CHECK(box->gid_map.count == 0);
}

TEST_CASE("a processor that is not there is refused") {
  refused_as(plain(R"("affinity": [0, 1023])"), "affinity[1]");
}

TEST_CASE("Run ends with its caller, Start does not and hands out a pidfd") {
  const Made run = make(kPlain);
  CHECK(run->on_disconnect == plan::OnDisconnect::kill);
  CHECK((run->flags & plan::kWantPidfd) == 0);
  const Asked asked{plan::Method::start, 42, 7};
  const Made start = make(kPlain, {}, self(), asked);
  CHECK(start->on_disconnect == plan::OnDisconnect::keep);
  CHECK((start->flags & plan::kWantPidfd) != 0);
  CHECK(start->method == plan::Method::start);
  CHECK(start->request_digest == 42);
  CHECK(start->parse_us == 7);
  CHECK(make(plain(R"("lifetime": {"on_disconnect": "stop"})"), {}, self(), asked)->on_disconnect ==
        plan::OnDisconnect::stop);
}

TEST_CASE("Inspect shows names of variables, no values, and no inline input") {
  const Made made = make(plain(R"("env": {"TOKEN": "hunter2"}, "stdin": {"text": "hunter3"},
                                  "limits": {"cpus": 1}, "best_effort": ["limits.cpus"])"));
  const auto shown = nlohmann::json::parse(made.text(made->request_json));
  CHECK(shown["env"].contains("TOKEN"));
  CHECK(made.text(made->request_json).find("hunter") == std::string::npos);
  CHECK(shown["argv"] == nlohmann::json::array({"prog"}));
  CHECK(made.text(made->degraded) == R"(["limits.cpus"])");
}

TEST_CASE("the digest tells requests apart, not their spelling") {
  const auto digest = [](std::string_view text) { return digest_of(*parse(text)); };
  CHECK(digest(R"({"argv": ["a"], "nice": 1})") == digest(R"({ "nice":1, "argv":["\u0061"] })"));
  CHECK(digest(R"({"argv": ["a"], "nice": 1})") != digest(R"({"argv": ["a"], "nice": 2})"));
}

TEST_CASE("a request too large for a Plan is refused, one that fits is not") {
  Request request;
  request.profile = "none";
  request.argv = {"a"};
  for (int i = 0; i < 30; ++i)
    request.argv.push_back(std::string(plan::kMaxArgumentBytes - 1, 'x'));
  const auto fits = complete(request, profiles(), self());
  CHECK(resolve(*fits, {}, self(), {}).has_value());
  for (int i = 0; i < 30; ++i)
    request.argv.push_back(std::string(plan::kMaxArgumentBytes - 1, 'x'));
  const auto too_large = complete(request, profiles(), self());
  CHECK(resolve(*too_large, {}, self(), {}).has_error());
}

// --- what the exec makes of it ------------------------------------------------------

TEST_CASE("capabilities that the exec would not leave as they are asked for are refused") {
  const auto field = [](const std::string& members) {
    const auto resolved = try_resolve("\"profile\": \"none\", " + members);
    return resolved ? std::string("none") : resolved.error().field;
  };
  const std::string user = R"("identity": {"ruid": 4000, "rgid": 4000, "groups": []}, )";
  const std::string root = R"("identity": {"ruid": 0, "rgid": 0, "groups": []}, )";
  const std::string sealed = R"("no_new_privs": true, )";
  CHECK(field(user + R"("capabilities": {})") == "none");
  CHECK(field(user + R"("capabilities": {"bounding": "all", "inheritable": ["CAP_KILL"]})") ==
        "none");
  CHECK(field(user + R"("capabilities": {"permitted": ["CAP_KILL"]})") ==
        "capabilities.permitted");
  CHECK(field(user + R"("capabilities": {"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                                         "ambient": ["CAP_KILL"]})") == "none");
  CHECK(field(user + R"("capabilities": {"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                                         "ambient": ["CAP_KILL"], "effective": []})") ==
        "capabilities.effective");
  CHECK(field(root + R"("capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]})") ==
        "none");
  CHECK(field(root + R"("capabilities": {"permitted": ["CAP_KILL"]})") ==
        "capabilities.permitted");
  // Without no_new_privs an exec of uid 0 raises permitted to bounding.
  const std::string more = R"("capabilities": {"bounding": "all", "permitted": ["CAP_KILL"]})";
  CHECK(field(root + more) == "capabilities.permitted");
  CHECK(field(root + sealed + more) == "none");
  CHECK(field(root + R"("capabilities": {"bounding": "all", "securebits": ["SECBIT_NOROOT"]})") ==
        "none");
  CHECK(field(R"("identity": {"ruid": 0, "euid": 4000, "rgid": 0, "groups": []},
                 "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]})") ==
        "capabilities.effective");
}

TEST_CASE("what the exec clears is refused by name") {
  const auto refused = [](std::string_view members) {
    const auto resolved = try_resolve(members);
    REQUIRE(!resolved.has_value());
    return resolved.error().field;
  };
  CHECK(refused(R"("personality": ["READ_IMPLIES_EXEC"])") == "personality");
  CHECK(refused(R"("scheduler": {"policy": "SCHED_FIFO", "priority": 1}, "timer_slack_ns": 5)") ==
        "timer_slack_ns");
  CHECK(refused(R"("dumpable": true, "identity": {"euid": 4000})") == "dumpable");
  CHECK(make(R"("personality": ["PER_LINUX32"], "dumpable": true)")->personality == 8);
}

// --- Landlock -------------------------------------------------------------------------

TEST_CASE("a Landlock that the kernel is too old for is refused by name, on each ABI") {
  const auto field = [](const std::string& landlock, int abi) {
    const auto request = parse(R"({"argv": ["prog"], "landlock": )" + landlock + '}');
    REQUIRE_MESSAGE(request.has_value(), request.error().field, ' ', request.error().reason);
    const Caller caller = self();
    const auto effective = complete(*request, profiles(), caller);
    REQUIRE(effective.has_value());
    Draft draft{*effective, effective->request, caller, Descriptors({}), {}, {}, {}};
    const auto problem = resolve_landlock(draft, abi);
    if (!problem) return std::to_string(draft.plan->landlock.handled_fs);
    CHECK(problem->kind == Problem::Kind::unsupported);
    CHECK(!problem->reason.empty());
    return problem->field;
  };
  const std::string read = R"({"paths": [{"path": "/", "access": ["read"]}]})";
  const std::string write = R"({"paths": [{"path": "/", "access": ["write"]}]})";
  const std::string refer =
      R"({"paths": [{"path": "/", "access": ["LANDLOCK_ACCESS_FS_REFER"]}]})";
  const std::string ioctl =
      R"({"paths": [{"path": "/", "access": ["LANDLOCK_ACCESS_FS_IOCTL_DEV"]}]})";
  CHECK(field(read, -ENOSYS) == "landlock");
  CHECK(field(read, -EOPNOTSUPP) == "landlock");
  // All that the ABI has is governed.
  CHECK(field(read, 1) == "8191");
  CHECK(field(read, 2) == "16383");
  CHECK(field(read, 3) == "32767");
  CHECK(field(read, 5) == "65535");
  CHECK(field(read, 7) == "65535");
  CHECK(field(refer, 1) == "landlock.paths[0].access");
  CHECK(field(refer, 2) == "16383");
  CHECK(field(write, 2) == "landlock.paths[0].access");
  CHECK(field(write, 3) == "32767");
  CHECK(field(ioctl, 4) == "landlock.paths[0].access");
  CHECK(field(ioctl, 5) == "65535");
  CHECK(field(R"({"bind_tcp": []})", 3) == "landlock.bind_tcp");
  CHECK(field(R"({"connect_tcp": [80]})", 3) == "landlock.connect_tcp");
  CHECK(field(R"({"bind_tcp": [], "connect_tcp": [80]})", 4) == "0");
  CHECK(field(R"({"scopes": ["LANDLOCK_SCOPE_SIGNAL"]})", 5) == "landlock.scopes");
  CHECK(field(R"({"scopes": ["LANDLOCK_SCOPE_SIGNAL"]})", 6) == "0");
}
