#include "stage.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "cloister/calls.hpp"
#include "cloister/request.hpp"

namespace cloister::bench {
namespace {

namespace fs = std::filesystem;

// Where the no-op is seen inside: a tmpfs of both, with one bind on it.
constexpr const char* kInside = "/run/bench";

pid_t start(const Words& argv) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = -1;
  errno = ::posix_spawnp(&pid, words[0], nullptr, nullptr, words.data(), environ);
  if (errno != 0) fail("posix_spawn " + argv[0]);
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail("waitpid");
  return status;
}

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (!fd || ::connect(fd.borrow(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return {};
  return fd;
}

}  // namespace

void fail(const std::string& what) { throw std::system_error(errno, std::system_category(), what); }

int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void spawn_and_wait(const Words& argv) {
  const int status = wait_for(start(argv));
  if (status != 0) throw std::runtime_error(argv[0] + " ended with " + std::to_string(status));
}

Connection::Connection(const std::string& socket) : socket_(connect_to(socket)) {
  if (!socket_) fail("connect " + socket);
}

std::string Connection::call(const std::string& message) {
  // The NUL of c_str() is the frame's.
  const auto size = static_cast<ssize_t>(message.size() + 1);
  if (::send(socket_.borrow(), message.c_str(), message.size() + 1, MSG_NOSIGNAL) != size)
    fail("send");
  std::string reply;
  char buffer[16384];
  do {
    const ssize_t got = ::recv(socket_.borrow(), buffer, sizeof buffer, 0);
    if (got < 0) fail("recv");
    if (got == 0) throw std::runtime_error("the service hung up after: " + message);
    reply.append(buffer, static_cast<size_t>(got));
  } while (reply.back() != '\0');
  reply.pop_back();
  return reply;
}

Stage::Stage(const std::string& programs, const std::string& noop) : programs_(programs) {
  // A service must be reachable by whoever asks, and / is readable by all.
  char name[] = "/tmp/cloister-bench-XXXXXX";
  if (!::mkdtemp(name)) fail("mkdtemp");
  directory_ = name;
  fs::permissions(directory_, fs::perms(0755));
  fs::copy_file(noop, directory_ + "/noop");
  socket_ = directory_ + "/socket";
  journal_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::string journal = directory_ + "/journal";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  journal.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(journal_.borrow(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    fail("bind " + journal);
  // Records live in memory, as below /run on a host with systemd.
  char memory[] = "/dev/shm/cloister-bench-XXXXXX";
  if (!::mkdtemp(memory)) fail("mkdtemp");
  runtime_ = memory;
  monitor_ = start({programs_ + "/cloisterd", "--socket", socket_, "--runtime-dir", runtime_,
                    "--front", programs_ + "/cloister-front", "--init",
                    programs_ + "/cloister-init", "--journal", journal});
  for (int tries = 0; !connect_to(socket_); ++tries) {
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(monitor_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (tries == 100 || ended.si_pid == monitor_) {
      finish();
      throw std::runtime_error("cloisterd does not answer on " + socket_);
    }
    ::usleep(50'000);
  }
}

Stage::~Stage() { finish(); }

void Stage::finish() {
  ::kill(monitor_, SIGTERM);
  ::waitpid(monitor_, nullptr, 0);
  std::error_code left;
  fs::remove_all(directory_, left);
  fs::remove_all(runtime_, left);
}

std::vector<pid_t> Stage::children() const {
  const std::string pid = std::to_string(monitor_);
  std::ifstream in("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> pids;
  for (pid_t child; in >> child;) pids.push_back(child);
  return pids;
}

// The default profile in bwrap's words, cgroup namespace included.
Words Stage::bwrap() const {
  Words words = {"bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/",
                 "/"};
  for (const char* at : {"/run", "/tmp", "/var/tmp", "/home", "/root", "/mnt", "/media"})
    words.insert(words.end(), {"--tmpfs", at});
  words.insert(words.end(), {"--proc", "/proc", "--dev", "/dev", "--ro-bind", directory_, kInside,
                             std::string(kInside) + "/noop"});
  return words;
}

Words Stage::command() const {
  const std::string program = programs_ + "/cloister";
  if (::access(program.c_str(), X_OK) < 0) return {};
  return {program, "run", "--ro", directory_ + ":" + kInside, "--", std::string(kInside) + "/noop"};
}

std::string Stage::run_call(const std::string& profile) const {
  Request request;
  request.profile = profile;
  request.argv = {"noop"};
  request.executable = profile == "none" ? directory_ + "/noop" : std::string(kInside) + "/noop";
  // What the library fills in for `default`, and by itself here for `none`, so
  // that both carry a real request.
  Request own;
  own.profile = "default";
  fill_from_caller(own);
  request.umask = own.umask;
  request.nice = own.nice;
  request.affinity = own.affinity;
  request.rlimits = own.rlimits;
  request.cwd = "/";
  Json json = Json::parse(to_json(request));
  if (profile != "none")
    json["mounts"] = Json::array({{{"at", kInside}, {"bind", directory_}, {"access", "ro"}}});
  return Json{{"method", "io.cloister.Launcher.Run"}, {"parameters", {{"request", json}}}}.dump();
}

}  // namespace cloister::bench
