// cloisterd: the privileged daemon. cloisterd(8).
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "monitor.hpp"

namespace cloister::monitor {
namespace {

constexpr char kUsage[] =
    "usage: cloisterd [--socket PATH [--socket-mode MODE]] [--runtime-dir DIR] [--config FILE]\n"
    "                 [--user] [--private FD] [--front PATH] [--init PATH] [--journal PATH]\n"
    "The service that launches processes for cloister(1). See cloisterd(8).\n";

struct Options {
  std::string socket, runtime, config, front, init, journal = "/run/systemd/journal/socket";
  mode_t socket_mode = 0660;
  int private_fd = -1;
  bool user = ::geteuid() != 0;
};

[[noreturn]] void fail(int code, const std::string& what) {
  std::fprintf(stderr, "cloisterd: %s\n", what.c_str());
  std::exit(code);
}

[[noreturn]] void fail_errno(int code, const std::string& what) {
  fail(code, what + ": " + std::strerror(errno));
}

int number(const char* option, const char* text, int base) {
  int value = -1;
  const char* end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, value, base);
  if (error != std::errc{} || at != end || value < 0)
    fail(EX_USAGE, std::string("--") + option + ": \"" + text + "\" is not a number");
  return value;
}

Options parse(int argc, char** argv) {
  enum { socket = 1, socket_mode, runtime, config, user, private_fd, front, init, journal, help, version };
  static const option kOptions[] = {
      {"socket", required_argument, nullptr, socket},
      {"socket-mode", required_argument, nullptr, socket_mode},
      {"runtime-dir", required_argument, nullptr, runtime},
      {"config", required_argument, nullptr, config},
      {"user", no_argument, nullptr, user},
      {"private", required_argument, nullptr, private_fd},
      {"front", required_argument, nullptr, front},
      {"init", required_argument, nullptr, init},
      {"journal", required_argument, nullptr, journal},
      {"help", no_argument, nullptr, help},
      {"version", no_argument, nullptr, version},
      {}};
  Options options;
  for (int which; (which = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (which) {
      case socket: options.socket = optarg; break;
      case socket_mode:
        options.socket_mode = static_cast<mode_t>(number("socket-mode", optarg, 8));
        break;
      case runtime: options.runtime = optarg; break;
      case config: options.config = optarg; break;
      case user: options.user = true; break;
      case private_fd: options.private_fd = number("private", optarg, 10); break;
      case front: options.front = optarg; break;
      case init: options.init = optarg; break;
      case journal: options.journal = optarg; break;
      case help: std::fputs(kUsage, stdout); std::exit(EX_OK);
      case version: std::puts("cloisterd " CLOISTER_VERSION); std::exit(EX_OK);
      default: std::fputs(kUsage, stderr); std::exit(EX_USAGE);
    }
  }
  if (optind != argc) fail(EX_USAGE, std::string("what is \"") + argv[optind] + "\"? See --help");
  if (options.private_fd >= 0) return options;
  if (options.runtime.empty() && !options.socket.empty()) {
    const size_t slash = options.socket.rfind('/');
    options.runtime = slash == std::string::npos ? "." : options.socket.substr(0, slash);
  }
  if (options.runtime.empty() && options.user) {
    const char* xdg = ::getenv("XDG_RUNTIME_DIR");
    if (!xdg || *xdg != '/') fail(EX_USAGE, "XDG_RUNTIME_DIR is not set; name a --runtime-dir");
    options.runtime = std::string(xdg) + "/cloister";
  }
  if (options.runtime.empty()) options.runtime = "/run/cloister";
  if (options.socket.empty()) options.socket = options.runtime + "/socket";
  return options;
}

// A program of ours: as told, beside us, or where it is installed.
std::string find_program(const std::string& told, const char* name) {
  if (!told.empty()) return told;
  char self[4096];
  const ssize_t size = ::readlink("/proc/self/exe", self, sizeof self);
  const std::string beside(self, size > 0 ? static_cast<size_t>(size) : 0);
  const std::string path = beside.substr(0, beside.rfind('/') + 1) + name;
  return ::access(path.c_str(), X_OK) == 0 ? path : std::string(CLOISTER_LIBEXECDIR "/") + name;
}

sys::UniqueFd open_program(const std::string& path) {
  return sys::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

sys::UniqueFd need_program(const std::string& told, const char* name) {
  const std::string path = find_program(told, name);
  sys::UniqueFd fd = open_program(path);
  if (!fd) fail_errno(EX_OSFILE, "cannot open " + path);
  return fd;
}

// Init runs from a sealed copy: through /proc/PID/exe a payload would find
// this copy, never the installed file (CVE-2019-5736).
sys::UniqueFd sealed_copy(const sys::UniqueFd& file) {
  struct stat info {};
  sys::UniqueFd copy(::memfd_create("cloister-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy || ::fstat(file.borrow(), &info) < 0 ||
      ::sendfile(copy.borrow(), file.borrow(), nullptr, static_cast<size_t>(info.st_size)) !=
          info.st_size ||
      ::fchmod(copy.borrow(), 0555) < 0 ||
      ::fcntl(copy.borrow(), F_ADD_SEALS,
              F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    fail_errno(EX_OSERR, "cannot copy cloister-init into memory");
  // Executed through a read-only descriptor: a writable one is ETXTBSY.
  sys::UniqueFd readable(::open(("/proc/self/fd/" + std::to_string(copy.borrow())).c_str(),
                                O_RDONLY | O_CLOEXEC));
  if (!readable) fail_errno(EX_OSERR, "cannot reopen the copy of cloister-init");
  return readable;
}

sys::UniqueFd record_directory(const std::string& runtime) {
  if (::mkdir(runtime.c_str(), 0755) < 0 && errno != EEXIST)
    fail_errno(EX_CANTCREAT, "cannot make " + runtime);
  const std::string path = runtime + "/records";
  if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST)
    fail_errno(EX_CANTCREAT, "cannot make " + path);
  sys::UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!directory || ::fstat(directory.borrow(), &info) < 0) fail_errno(EX_CANTCREAT, path);
  if (info.st_uid != ::geteuid() || (info.st_mode & 077))
    fail(EX_NOPERM, path + " must belong to the service alone (mode 0700)");
  return directory;
}

// Records whose monitor is gone: nobody can ask for them any more.
void sweep_records(const sys::UniqueFd& directory) {
  const std::string path = "/proc/self/fd/" + std::to_string(directory.borrow());
  std::error_code none;  // what cannot be removed stays; it holds no name of ours
  for (const auto& record : std::filesystem::directory_iterator(path, none))
    ::unlinkat(directory.borrow(), record.path().filename().c_str(), 0);
}

// sd_listen_fds(3): the first passed socket is ours.
sys::UniqueFd activated_socket() {
  const char* pid = ::getenv("LISTEN_PID");
  const char* count = ::getenv("LISTEN_FDS");
  if (!pid || !count || pid != std::to_string(::getpid())) return {};
  if (std::strcmp(count, "1") != 0) fail(EX_CONFIG, "expected one socket from the service manager");
  return sys::UniqueFd(::fcntl(3, F_DUPFD_CLOEXEC, kReservedFds));
}

sys::UniqueFd bind_socket(const Options& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options.socket.size() >= sizeof address.sun_path)
    fail(EX_USAGE, "the socket's path is longer than 107 bytes: " + options.socket);
  options.socket.copy(address.sun_path, options.socket.size());
  sys::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  struct stat info {};
  if (::lstat(options.socket.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
    if (::connect(listener.borrow(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      fail(EX_UNAVAILABLE, "another service answers on " + options.socket);
    ::unlink(options.socket.c_str());
  }
  // Nobody can connect before listen(2); by then owner and mode are right.
  const mode_t before = ::umask(0177);
  if (!listener ||
      ::bind(listener.borrow(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    fail_errno(EX_CANTCREAT, "cannot bind " + options.socket);
  ::umask(before);
  const group* owners = options.user ? nullptr : ::getgrnam("cloister");
  if ((owners && ::chown(options.socket.c_str(), 0, owners->gr_gid) < 0) ||
      ::chmod(options.socket.c_str(), options.socket_mode) < 0 ||
      ::listen(listener.borrow(), 1024) < 0)
    fail_errno(EX_CANTCREAT, "cannot listen on " + options.socket);
  return listener;
}

void prepare_process(const Options& options) {
  if (!reserve_low_fds()) fail_errno(EX_OSERR, "cannot open /dev/null");
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  // An ignored SIGCHLD would lose exit statuses (wait(2)).
  ::signal(SIGCHLD, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  if (::geteuid() == 0 && ::setgroups(0, nullptr) < 0) fail_errno(EX_OSERR, "setgroups");
  if (options.private_fd >= 0) {
    ::setsid();  // the terminal's signals are the client's business
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  }
}

// Where root's configuration is; empty: there is none, and that is no fault.
std::string config_path(const Options& options) {
  const char standard[] = "/etc/cloister/cloisterd.json";
  if (!options.config.empty()) return options.config;
  return !options.user && ::access(standard, F_OK) == 0 ? standard : "";
}

// Where scratch directories on disk lie, unless root says otherwise; empty:
// nowhere. What is in a cache of a user's may vanish, as the XDG base directory
// specification has it.
std::string scratch_path() {
  if (::geteuid() == 0) return "/var/lib/cloister/scratch";
  const char* cache = ::getenv("XDG_CACHE_HOME");
  if (cache && *cache == '/') return std::string(cache) + "/cloister/scratch";
  const char* home = ::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.cache/cloister/scratch" : "";
}

// What is opened once, at the start.
const char* changed_for_good(const Config& now, const Config& fresh) {
  if (fresh.cgroup != now.cgroup) return "cgroup";
  if (fresh.pasta != now.pasta) return "pasta";
  if (fresh.scratch != now.scratch) return "scratch";
  return nullptr;
}

// All or nothing: what the new file says, or as it was. One that is not there
// any more takes no rule away.
void reload(const Options& options, Monitor& monitor, bool& configured) {
  const std::string path = config_path(options);
  Config fresh;
  std::string problem;
  if (!path.empty())
    problem = read_config(path, ::geteuid(), fresh);
  else if (configured)
    problem = "the configuration is not there any more";
  if (problem.empty()) problem = read_subordinate(!options.user && options.private_fd < 0, fresh);
  if (fresh.scratch.empty()) fresh.scratch = scratch_path();
  if (const char* member = changed_for_good(monitor.config(), fresh); member && problem.empty())
    problem = path + ": " + member + ": cannot change while the service runs";
  if (!problem.empty()) {
    std::fprintf(stderr, "cloisterd: not reloaded, all stays as it was: %s\n", problem.c_str());
    return;
  }
  configured = !path.empty();
  monitor.adopt(std::move(fresh));
  std::fprintf(stderr, "cloisterd: reloaded %s\n", configured ? path.c_str() : "nothing");
}

void read_signals(boost::asio::posix::stream_descriptor& signals, Monitor& monitor,
                  const std::function<void()>& on_hangup) {
  signals.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [&](boost::system::error_code error) {
                       signalfd_siginfo info;
                       if (error) return;
                       while (::read(signals.native_handle(), &info, sizeof info) == sizeof info)
                         info.ssi_signo == SIGHUP ? on_hangup() : monitor.shut_down();
                       read_signals(signals, monitor, on_hangup);
                     });
}

int run(int argc, char** argv) {
  Options options = parse(argc, argv);
  sys::UniqueFd only, listener = activated_socket();
  if (options.private_fd >= 0) {
    only.reset(::fcntl(options.private_fd, F_DUPFD_CLOEXEC, kReservedFds));
    if (!only) fail_errno(EX_USAGE, "--private " + std::to_string(options.private_fd));
    ::close(options.private_fd);
    ::fcntl(only.borrow(), F_SETFL, O_RDWR | O_NONBLOCK);
  }
  prepare_process(options);

  Config config;
  const std::string path = config_path(options);
  bool configured = !path.empty();
  if (configured) {
    const std::string problem = read_config(path, ::geteuid(), config);
    if (!problem.empty()) fail(EX_CONFIG, problem);
  }
  const bool of_root = !only && !options.user;
  if (const std::string problem = read_subordinate(of_root, config); !problem.empty())
    fail(EX_CONFIG, problem);
  if (only) config.spare_fronts = 1;
  if (config.scratch.empty()) config.scratch = scratch_path();

  sigset_t heard;
  ::sigemptyset(&heard);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&heard, signal);
  ::sigprocmask(SIG_BLOCK, &heard, nullptr);

  Programs programs{need_program(options.front, "cloister-front"),
                    sealed_copy(need_program(options.init, "cloister-init")),
                    open_program(find_program("", "cloister-sweep"))};
  sys::UniqueFd records = only ? sys::UniqueFd() : record_directory(options.runtime);
  if (records) sweep_records(records);
  const plan::Mode mode = only           ? plan::Mode::private_
                          : options.user ? plan::Mode::user
                                         : plan::Mode::system;
  boost::asio::io_context io(1);
  Monitor monitor(io, std::move(config), mode, std::move(programs), std::move(records),
                  options.journal);
  boost::asio::posix::stream_descriptor signals(io, ::signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK));
  const std::function<void()> on_hangup = [&] { reload(options, monitor, configured); };
  read_signals(signals, monitor, on_hangup);
  const bool bound = !only && !listener;
  if (only)
    monitor.serve_only(std::move(only));
  else
    monitor.listen(bound ? bind_socket(options) : std::move(listener));
  io.run();
  if (bound) ::unlink(options.socket.c_str());
  return EX_OK;
}

}  // namespace
}  // namespace cloister::monitor

int main(int argc, char** argv) { return cloister::monitor::run(argc, argv); }
