#include "service.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "build_paths.hpp"

namespace cloister::system_test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAlice = "cloister-test-a";
constexpr const char* kBob = "cloister-test-b";

// The user is the tests' own, so all its processes are. We are the subreaper of
// those whose parent was killed.
void remove_user(const std::string& name) {
  command({"pkill", "-KILL", "-U", name});
  eventually([&] {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return command({"pgrep", "--count", "-U", name}) != 0;
  });
  command({"userdel", name});
}

Who make_user(const std::string& name, const std::string& home) {
  if (getpwnam(name.c_str())) remove_user(name);  // left by a run that was killed
  if (command({"useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh",
               "--user-group", name}) != 0) {
    throw std::runtime_error("useradd " + name + " failed");
  }
  const passwd* entry = getpwnam(name.c_str());
  if (!entry) throw std::runtime_error("there is no user " + name);
  const Who who{entry->pw_uid, entry->pw_gid, {entry->pw_gid}};
  check(mkdir(home.c_str(), 0700), "mkdir");
  check(chown(home.c_str(), who.uid, who.gid), "chown");
  return who;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A journal of the test's own: most tests do not read it, and it is full soon.
Fd listen_as_journal(const std::string& path) {
  Fd fd(check(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
  const sockaddr_un address = address_of(path);
  unlink(path.c_str());
  check(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  check(chmod(path.c_str(), 0666), "chmod");
  return fd;
}

Fd connect_to(const std::string& path) {
  Fd fd(check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const sockaddr_un address = address_of(path);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return Fd();
  }
  return fd;
}

// Who listens there. For a moment that can be a process of a service before this one.
pid_t listener_at(const std::string& path) {
  const Fd connection = connect_to(path);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!connection || getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
    return 0;
  return peer.pid;
}

// A process of `who` that makes a connection, hands it over, and stays until
// its lifeline ends.
Client client_of(const Who& who, const std::function<Fd()>& make) {
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
  Fd ours(pair[0]), theirs(pair[1]);
  auto [wait_end, lifeline] = pipe();
  const pid_t helper = child([&, &wait_end = wait_end] {
    // Also the other ends of all that the test has open: a lifeline ends only
    // when its last copy is closed.
    const int own[] = {std::min(wait_end.get(), theirs.get()),
                       std::max(wait_end.get(), theirs.get())};
    close_range(3, static_cast<unsigned>(own[0]) - 1, 0);
    close_range(static_cast<unsigned>(own[0]) + 1, static_cast<unsigned>(own[1]) - 1, 0);
    close_range(static_cast<unsigned>(own[1]) + 1, ~0u, 0);
    become(who);
    {
      const Fd connection = make();
      if (!connection) fail("connect");
      send_descriptor(theirs.get(), connection.get());
    }
    theirs.reset();
    char byte;
    while (read(wait_end.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    while (wait(nullptr) > 0) {  // a private service ends when its connection does
    }
    return 0;
  });
  theirs.reset();
  Fd connection;
  try {
    connection = receive_descriptor(ours.get());
  } catch (...) {
    wait_for(helper);
    throw;
  }
  return Client(std::move(connection), std::move(lifeline), helper);
}

// For children: the program with these arguments.
int execute(const std::string& program, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = arguments;
  words.insert(words.begin(), program);
  std::vector<char*> raw;
  for (auto& word : words) raw.push_back(word.data());
  raw.push_back(nullptr);
  execv(program.c_str(), raw.data());
  fail("execv " + program);
}

void keep_cache_on_disk(const Who& who) {
  const World& world = World::get();
  setenv("XDG_CACHE_HOME", (world.disk() + "/" + world.name_of(who)).c_str(), 1);
}

std::vector<std::string> program_options() {
  const World& world = World::get();
  return {"--front", world.program("cloister-front"), "--init", world.program("cloister-init")};
}

}  // namespace

std::string name_of(Way way) {
  switch (way) {
    case Way::root: return "root";
    case Way::user: return "user";
    case Way::rootless: return "rootless";
    case Way::alone: return "private";
  }
  return "?";
}

Service::Service(const Who& who, const std::string& directory,
                 const std::vector<std::string>& options, const std::function<void()>& before)
    : socket_(directory + "/socket"), journal_(listen_as_journal(directory + "/journal")) {
  // Everybody may connect: who may do what is what is tested.
  std::vector<std::string> arguments = {
      "--socket",         socket_,     "--socket-mode",       "0666", "--runtime-dir",
      directory + "/run", "--journal", directory + "/journal"};
  for (const auto& word : program_options()) arguments.push_back(word);
  arguments.insert(arguments.end(), options.begin(), options.end());
  pid_ = child([&] {
    if (who.uid != 0) become(who);
    const std::string home = "HOME=" + directory;
    putenv(const_cast<char*>(home.c_str()));
    keep_cache_on_disk(who);
    before();
    return execute(World::get().program("cloisterd"), arguments);
  });
  const bool answers = eventually([&] { return !alive(pid_) || listener_at(socket_) == pid_; });
  if (!answers || !alive(pid_)) {
    stop();
    throw std::runtime_error("cloisterd does not answer on " + socket_);
  }
}

Service::~Service() { stop(); }

int Service::stop() {
  if (pid_ < 0) return 0;
  ::kill(pid_, SIGTERM);
  // It waits 10 s at most for what cannot be killed; sanitizers look for leaks then.
  const bool gone = eventually([&] { return !alive(pid_); }, 60'000);
  if (!gone) ::kill(pid_, SIGKILL);
  const int status = wait_for(std::exchange(pid_, -1));
  return gone ? status : -1;
}

std::vector<std::string> Service::records() {
  std::vector<std::string> all;
  char text[16384];
  for (ssize_t size; (size = recv(journal_.get(), text, sizeof text, 0)) >= 0;)
    all.emplace_back(text, static_cast<size_t>(size));
  return all;
}

pid_t process_of(const Service& service, const std::string& name) {
  pid_t found = 0;
  eventually([&] {
    for (const pid_t pid : service.processes()) {
      std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
      std::string argument;
      if (std::getline(in, argument, '\0') && argument == name) found = pid;
    }
    return found != 0;
  });
  return found;
}

std::vector<pid_t> Service::processes() const {
  std::vector<pid_t> out, next = {pid_};
  while (!next.empty()) {
    const pid_t parent = next.back();
    next.pop_back();
    std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                     "/children");
    for (pid_t pid; in >> pid;) {
      out.push_back(pid);
      next.push_back(pid);
    }
  }
  return out;
}

Client Service::connect(const Who& who) const {
  return client_of(who, [&] { return connect_to(socket_); });
}

World& World::get() {
  static World world;
  return world;
}

World::World() {
  // The users have fixed names, so that a run that was killed leaves no more
  // than these two: one test program at a time.
  lock_ = Fd(check(open("/run/lock/cloister-tests", O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open"));
  check(flock(lock_.get(), LOCK_EX), "flock");
  umask(022);
  // What loses its parent stays below us, where a census finds it.
  check(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
  signal(SIGPIPE, SIG_IGN);
  // Ignored where a shell has put us into the background, or nohup(1); profile none
  // hands that on.
  for (const int each : {SIGHUP, SIGINT, SIGQUIT}) signal(each, SIG_DFL);

  directory_ = fs::temp_directory_path() / "cloister-test-XXXXXX";
  if (!mkdtemp(directory_.data())) fail("mkdtemp");
  check(chmod(directory_.c_str(), 0755), "chmod");
  fs::create_directory(directory_ + "/bin");
  const std::map<std::string, std::string> programs = {{"cloisterd", CLOISTERD},
                                                       {"cloister-front", CLOISTER_FRONT},
                                                       {"hostile-front", HOSTILE_FRONT},
                                                       {"cloister-init", CLOISTER_INIT},
                                                       {"cloister-network", CLOISTER_NETWORK},
                                                       {"cloister-config", CLOISTER_CONFIG},
                                                       {"cloister-sweep", CLOISTER_SWEEP},
                                                       {"cloister-relay", CLOISTER_RELAY},
                                                       {"probe", PROBE}};
  for (const auto& [program, path] : programs) {
    fs::copy_file(path, directory_ + "/bin/" + program);
    fs::permissions(directory_ + "/bin/" + program, fs::perms{0755});
  }
  // A front looks for its profiles beside itself before it looks where they are installed.
  fs::create_directories(directory_ + "/bin/config");
  fs::copy(PROFILES, directory_ + "/bin/config/profiles");
  alice_ = make_user(kAlice, directory_ + "/alice");
  bob_ = make_user(kBob, directory_ + "/bob");

  char disk[] = "/var/tmp/cloister-test-XXXXXX";
  if (!mkdtemp(disk)) fail("mkdtemp");
  disk_ = disk;
  check(chmod(disk, 0755), "chmod");
  for (const Who& who : {alice_, bob_}) {
    const std::string cache = disk_ + "/" + name_of(who);
    check(mkdir(cache.c_str(), 0700), "mkdir");
    check(chown(cache.c_str(), who.uid, who.gid), "chown");
  }
}

World::~World() {
  rootless_.reset();
  system_.reset();
  remove_user(kAlice);
  remove_user(kBob);
  // Nothing of ours is mounted here; a mount left by a fault is not deleted through.
  std::error_code failed;
  fs::remove_all(directory_, failed);
  fs::remove_all(disk_, failed);
}

const std::string& World::name_of(const Who& who) const {
  static const std::string names[] = {"root", kAlice, kBob};
  return names[who.uid == 0 ? 0 : who.uid == alice_.uid ? 1 : 2];
}

Service& World::system() {
  if (!system_) {
    const std::string directory = directory_ + "/system";
    fs::create_directory(directory);
    const Json config = {{"lease", {{"first", 1879048192}, {"count", 16777216}}},
                         {"scratch", disk_ + "/system/scratch"}};
    write_file(directory + "/cloisterd.json", config.dump());
    system_ = std::make_unique<Service>(
        root_, directory, std::vector<std::string>{"--config", directory + "/cloisterd.json"});
  }
  return *system_;
}

Service& World::rootless() {
  if (!rootless_) rootless_ = std::make_unique<Service>(alice_, directory_of(alice_));
  return *rootless_;
}

Service World::configured(const Json& config, const std::function<void()>& before) {
  const std::string directory = directory_of(root_), file = directory + "/cloisterd.json";
  check(chmod(directory.c_str(), 0755), "chmod");
  write_file(file, config.dump());
  return Service(root_, directory, {"--config", file}, before);
}

Client World::connect(Way way) {
  switch (way) {
    case Way::root: return system().connect(root_);
    case Way::user: return system().connect(alice_);
    case Way::rootless: return rootless().connect(alice_);
    case Way::alone: return connect_alone(alice_);
  }
  throw std::logic_error("no such way");
}

Client World::connect_alone(const Who& who, const std::function<void()>& before) {
  const std::string directory = directory_of(who);
  return client_of(who, [&] {
    keep_cache_on_disk(who);
    before();
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    Fd ours(pair[0]), theirs(pair[1]);
    if (check(fork(), "fork") == 0) {
      const Fd inherited(check(dup(theirs.get()), "dup"));
      std::vector<std::string> arguments = {"--private", std::to_string(inherited.get()),
                                            "--runtime-dir", directory + "/run"};
      for (const auto& word : program_options()) arguments.push_back(word);
      try {
        execute(program("cloisterd"), arguments);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "test child: %s\n", error.what());
      }
      _exit(70);
    }
    return ours;
  });
}

Json World::probe_request(const std::vector<std::string>& arguments) const {
  Json argv = {"probe"};
  for (const auto& word : arguments) argv.push_back(word);
  return {{"profile", "none"}, {"executable", probe()}, {"argv", argv}};
}

Json World::boxed_request(const std::vector<std::string>& arguments) const {
  Json request = probe_request(arguments);
  request["profile"] = "default";
  request["executable"] = "/run/test/probe";
  request["mounts"] = {{{"at", "/run/test"}, {"bind", directory_ + "/bin"}}};
  return request;
}

Json World::on_disk(Json request, const std::string& at) {
  request["mounts"].push_back({{"at", at}, {"scratch", {{"on", "disk"}}}});
  return request;
}

std::string World::directory_of(const Who& who) {
  const std::string path = directory_ + "/d" + std::to_string(++directories_);
  check(mkdir(path.c_str(), 0700), "mkdir");
  check(chown(path.c_str(), who.uid, who.gid), "chown");
  return path;
}

bool has_keyrings() {
  constexpr long kGetKeyringId = 0, kOfThread = -1;
  return syscall(SYS_keyctl, kGetKeyringId, kOfThread, 0) >= 0 || errno != ENOSYS;
}

std::string why_not() {
  if (geteuid() != 0) return "needs root: it makes users and becomes them";
  if (access("/usr/sbin/useradd", X_OK) != 0) return "useradd is missing";
  return {};
}

}  // namespace cloister::system_test
