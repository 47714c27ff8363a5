#include "client/connect.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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
#include <utility>

#include "client/codec.hpp"
#include "sys/names.hpp"

namespace cloister {
namespace {

constexpr char kSystemSocket[] = "/run/cloister/socket";
constexpr char kInstalledService[] = CLOISTER_SBINDIR "/cloisterd";
constexpr int kPrivateFd = 3;          // what the private service inherits
constexpr int kEndTimeoutMs = 10'000;  // for it to kill its jobs and leave

std::string user_socket() {
  const char* runtime = ::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/cloister/socket";
  return "/run/user/" + std::to_string(::getuid()) + "/cloister/socket";
}

std::string cannot(const std::string& what, int error) {
  return what + ": " + std::string(sys::errno_text(error));
}

// errno instead of an Error: who looks for a service goes on to the next.
int connect_to(const std::string& path, UniqueFd& out) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno;
  if (::connect(socket.borrow(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return errno;
  out = std::move(socket);
  return 0;
}

// The order to spawn by, freed on every way out.
struct SpawnOrder {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnOrder() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  SpawnOrder(const SpawnOrder&) = delete;
  SpawnOrder& operator=(const SpawnOrder&) = delete;
  ~SpawnOrder() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

int spawn_service(const std::string& program, int socket, pid_t& pid) {
  SpawnOrder order;
  // stdin and stdout are the caller's own business; stderr is where it complains.
  posix_spawn_file_actions_addopen(&order.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&order.actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&order.actions, socket, kPrivateFd);
  // A program that embeds this library may hold descriptors without FD_CLOEXEC.
  posix_spawn_file_actions_addclosefrom_np(&order.actions, kPrivateFd + 1);

  // Its own session: the terminal's signals are for the caller. Nothing blocked
  // or ignored: a service that cannot see SIGCHLD or SIGTERM is stuck.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&order.attributes, &none);
  posix_spawnattr_setsigdefault(&order.attributes, &all);
  posix_spawnattr_setflags(&order.attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  const std::string number = std::to_string(kPrivateFd);
  const char* argv[] = {"cloisterd", "--private", number.c_str(), nullptr};
  return ::posix_spawnp(&pid, program.c_str(), &order.actions, &order.attributes,
                        const_cast<char**>(argv), environ);
}

Result<Found> start_private(const ConnectOptions& options) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return codec::unreachable(cannot("socketpair", errno));
  UniqueFd ours(ends[0]), theirs(ends[1]);
  pid_t pid = 0;
  const bool told = !options.cloisterd.empty();
  int error = spawn_service(told ? options.cloisterd : kInstalledService, theirs.borrow(), pid);
  // posix_spawnp searches PATH for a name without a slash.
  if (error == ENOENT && !told) error = spawn_service("cloisterd", theirs.borrow(), pid);
  if (error != 0)
    return codec::unreachable(
        cannot("cannot start " + (told ? options.cloisterd : std::string("cloisterd")) +
                   " for a private service",
               error) +
        (told ? "" : std::string(" (looked for ") + kInstalledService + ", then along PATH)"));
  // By number: glibc 2.36 declares the wrappers without extern "C".
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return Found{PrivateService(pid, std::move(pidfd)), std::move(ours), Mode::private_, {}};
}

Result<Found> connect_by_path(const std::string& path, Mode mode) {
  UniqueFd socket;
  if (const int error = connect_to(path, socket); error != 0)
    return codec::unreachable(cannot("cannot connect to " + path, error));
  return Found{{}, std::move(socket), mode, path};
}

// A unit that is enabled and has no socket is a service that is down; one that
// nobody enabled is no service. systemctl(1) makes this link, in one of these
// folders of systemd.unit(5).
bool is_enabled(const std::vector<std::string>& units) {
  struct stat link {};
  return std::any_of(units.begin(), units.end(), [&](const std::string& folder) {
    return ::lstat((folder + "/sockets.target.wants/cloisterd.socket").c_str(), &link) == 0;
  });
}

std::string user_units() {
  const char* config = ::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && *config == '/') return std::string(config) + "/systemd/user";
  const char* home = ::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.config/systemd/user";
}

// The first that is there of system, user, private. One that is there and does
// not answer is an error: who is in charge of a job does not change silently.
Result<Found> find_any(const ConnectOptions& options) {
  struct Place {
    Mode mode;
    std::string path;
    std::vector<std::string> units;
    std::string remedy;
  };
  const Place places[] = {
      {Mode::system,
       kSystemSocket,
       {"/etc/systemd/system", "/run/systemd/system"},
       "start it (systemctl start cloisterd.socket)"},
      {Mode::user,
       user_socket(),
       {user_units(), "/etc/systemd/user", "/run/systemd/user"},
       "start it (systemctl --user start cloisterd.socket)"},
  };
  struct stat link {};
  std::string forbidden;
  for (const Place& place : places) {
    UniqueFd socket;
    const int error = connect_to(place.path, socket);
    if (error == 0) return Found{{}, std::move(socket), place.mode, place.path};
    // A link that leads nowhere is there.
    const bool absent =
        (error == ENOENT || error == ENOTDIR) && ::lstat(place.path.c_str(), &link) != 0;
    if (absent && !is_enabled(place.units)) continue;
    const std::string what = cannot(place.path, error);
    if (error == EACCES && place.mode == Mode::system) {
      // A service of the user's own takes nothing from one that never was for them.
      forbidden = what;
      continue;
    }
    return codec::unreachable("the " + std::string(to_string(place.mode)) +
                              " service does not answer: " + what + "; " + place.remedy +
                              ", or run without it (--private)");
  }
  if (!forbidden.empty())
    return codec::unreachable("the system service is not for you: " + forbidden +
                              "; ask its administrator to add you to its group (adduser USER "
                              "cloister, then log in again), or run without it (--private)");
  return start_private(options);
}

}  // namespace

PrivateService::~PrivateService() {
  if (pid_ == 0) return;
  pollfd ended{pidfd_.borrow(), POLLIN, 0};
  // Without a pidfd (no descriptor left) poll(2) only waits out the time.
  int ready;
  do {
    ready = ::poll(&ended, 1, kEndTimeoutMs);
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0 && pidfd_) ::syscall(SYS_pidfd_send_signal, pidfd_.borrow(), SIGKILL, nullptr, 0);
  // ECHILD: the caller reaps all its children, or ignores SIGCHLD. Nothing to do.
  int status;
  while (::waitpid(pid_, &status, pidfd_ ? 0 : WNOHANG) < 0 && errno == EINTR) {
  }
}

Result<UniqueFd> connect_socket(const std::string& path) {
  UniqueFd socket;
  if (const int error = connect_to(path, socket); error != 0)
    return codec::unreachable(cannot("cannot connect to " + path, error));
  return socket;
}

Result<Found> find_service(const ConnectOptions& options) {
  if (!options.socket.empty()) return connect_by_path(options.socket, Mode::unknown);
  switch (options.service) {
    case Service::system: return connect_by_path(kSystemSocket, Mode::system);
    case Service::user: return connect_by_path(user_socket(), Mode::user);
    case Service::private_: return start_private(options);
    case Service::automatic: break;
  }
  const char* named = ::getenv("CLOISTER_SOCKET");
  if (named != nullptr && *named != '\0') return connect_by_path(named, Mode::unknown);
  return find_any(options);
}

}  // namespace cloister
