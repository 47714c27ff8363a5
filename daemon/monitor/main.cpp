// cloisterd: the privileged daemon. cloisterd(8).
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "config/config_source.hpp"
#include "config/reload.hpp"
#include "host/cgroup.hpp"
#include "host/inherited.hpp"
#include "host/orphans.hpp"
#include "monitor.hpp"
#include "sys/root.hpp"

namespace cloister::monitor {
namespace {

constexpr char kUsage[] =
    "usage: cloisterd [--socket PATH [--socket-mode MODE]] [--runtime-dir DIR] [--config FILE]\n"
    "                 [--user] [--private FD] [--front PATH] [--init PATH] [--journal PATH]\n"
    "       cloisterd --check [--config FILE]\n"
    "       cloisterd --reload [--user] [--runtime-dir DIR]\n"
    "       cloisterd --clean-up\n"
    "The service that launches processes for cloister(1). See cloisterd(8).\n";

enum class Doing { serve, check, reload, clean_up };

struct Options {
  Doing doing = Doing::serve;
  std::string socket, runtime, config, front, init, journal = "/run/systemd/journal/socket";
  mode_t socket_mode = 0660;
  int private_fd = -1;
  bool user = !sys::is_root();
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
  enum {
    socket = 1,
    socket_mode,
    runtime,
    config,
    user,
    private_fd,
    front,
    init,
    journal,
    check,
    reload,
    clean_up,
    help,
    version
  };
  static const option kOptions[] = {{"socket", required_argument, nullptr, socket},
                                    {"socket-mode", required_argument, nullptr, socket_mode},
                                    {"runtime-dir", required_argument, nullptr, runtime},
                                    {"config", required_argument, nullptr, config},
                                    {"user", no_argument, nullptr, user},
                                    {"private", required_argument, nullptr, private_fd},
                                    {"front", required_argument, nullptr, front},
                                    {"init", required_argument, nullptr, init},
                                    {"journal", required_argument, nullptr, journal},
                                    {"check", no_argument, nullptr, check},
                                    {"reload", no_argument, nullptr, reload},
                                    {"clean-up", no_argument, nullptr, clean_up},
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
      case check: options.doing = Doing::check; break;
      case reload: options.doing = Doing::reload; break;
      case clean_up: options.doing = Doing::clean_up; break;
      case help: std::fputs(kUsage, stdout); std::exit(EX_OK);
      case version: std::puts("cloisterd " CLOISTER_VERSION); std::exit(EX_OK);
      default: std::fputs(kUsage, stderr); std::exit(EX_USAGE);
    }
  }
  if (optind != argc)
    fail(EX_USAGE, std::string("unexpected argument: ") + argv[optind] + "; see --help");
  if (options.private_fd >= 0 || options.doing == Doing::check || options.doing == Doing::clean_up)
    return options;
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

Image image_of(const sys::UniqueFd& file, const char* name) {
  Image image(file, name);
  if (!image) fail_errno(EX_OSERR, std::string("cannot read ") + name);
  return image;
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
    if (record.path().filename() != Leases::kFile)
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

// Who connects waits behind those that are in it: short, so that not much of one
// user's stands before another. systemd/cloisterd.socket says the same.
constexpr int kBacklog = 256;

// To those who may connect beside root; kNone: to nobody. False with errno.
bool give_to_group(const std::string& socket, gid_t group) {
  return group == plan::kNone || ::chown(socket.c_str(), 0, group) == 0;
}

sys::UniqueFd bind_socket(const Options& options, gid_t group) {
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
  if (!give_to_group(options.socket, group) ||
      ::chmod(options.socket.c_str(), options.socket_mode) < 0 ||
      ::listen(listener.borrow(), kBacklog) < 0)
    fail_errno(EX_CANTCREAT, "cannot listen on " + options.socket);
  return listener;
}

void prepare_process(const Options& options) {
  if (!reserve_low_fds()) fail_errno(EX_OSERR, "cannot open /dev/null");
  leave_parent_behind();
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  rlimit size{};
  if (::getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur < plan::kMaxBytes)
    fail(EX_OSERR, "RLIMIT_FSIZE is " + std::to_string(size.rlim_cur) +
                       " bytes, less than the largest plan, and cannot be raised");
  // An ignored SIGCHLD would lose exit statuses (wait(2)).
  ::signal(SIGCHLD, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  if (sys::is_root() && ::syscall(SYS_setgroups, 0, nullptr) < 0) fail_errno(EX_OSERR, "setgroups");
  if (!adopt_orphans()) fail_errno(EX_OSERR, "PR_SET_CHILD_SUBREAPER");
  if (options.private_fd >= 0) {
    ::setsid();  // the terminal's signals are the client's business
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  }
}

ConfigSource config_source(boost::asio::io_context& io, const Options& options) {
  return {io, need_program("", "cloister-config"), options.config,
          !options.user && options.private_fd < 0, !options.user};
}

// --check: what a start or a reload would find wrong, profiles included.
int check(const Options& options) {
  if (!reserve_low_fds()) fail_errno(EX_OSERR, "cannot open /dev/null");
  boost::asio::io_context io(1);
  ConfigSource source = config_source(io, options);
  const std::string path = source.path();
  const Misconfiguration wrong = source.first().wrong;
  if (wrong) fail(EX_CONFIG, wrong.text());
  const sys::UniqueFd front = need_program(options.front, "cloister-front");
  const char* const argv[] = {"cloister-front", "--check", nullptr};
  Spawn order{front.borrow(), argv[0], {}};
  order.argv = argv;
  int status = -1;
  if (const Child child = spawn(order); child.pid < 0 || ::waitpid(child.pid, &status, 0) < 0)
    fail_errno(EX_OSERR, "cannot run cloister-front");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != EX_OK) return EX_CONFIG;
  std::printf("cloisterd: %s\n", path.empty() ? "no configuration file, which is fine"
                                              : (path + ": no error").c_str());
  return EX_OK;
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
  if (options.doing == Doing::check) return check(options);
  if (options.doing == Doing::clean_up) return Cgroups::clean_up(), EX_OK;
  if (options.doing == Doing::reload) return ask_to_reload(options.runtime);
  sys::UniqueFd only, listener = activated_socket();
  if (options.private_fd >= 0) {
    only.reset(::fcntl(options.private_fd, F_DUPFD_CLOEXEC, kReservedFds));
    if (!only) fail_errno(EX_USAGE, "--private " + std::to_string(options.private_fd));
    ::close(options.private_fd);
    ::fcntl(only.borrow(), F_SETFL, O_RDWR | O_NONBLOCK);
  }
  prepare_process(options);

  boost::asio::io_context io(1);
  ConfigSource source = config_source(io, options);
  const auto tell_wrong = [](const Config& config) {
    if (config.wrong)
      std::fprintf(stderr, "cloisterd: serves nobody: %s\n", config.wrong.text().c_str());
  };
  std::optional<Monitor> monitor;
  // Who runs one command waits for all of this. What is read without a file are
  // subordinate ids alone, and everything else is made meanwhile.
  const bool meanwhile = only && source.path().empty();
  if (meanwhile)
    source.first([&](Config read) {
      tell_wrong(read);
      read.spare_fronts = 1;
      monitor->adopt(std::move(read));
      monitor->serve_only(std::move(only));
    });
  Config config = meanwhile ? ConfigSource::of_no_file() : source.first();
  tell_wrong(config);
  if (only) config.spare_fronts = 1;

  sigset_t heard;
  ::sigemptyset(&heard);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&heard, signal);
  ::sigprocmask(SIG_BLOCK, &heard, nullptr);

  Programs programs{need_program(options.front, "cloister-front"),
                    image_of(need_program(options.init, "cloister-init"), "cloister-init"),
                    image_of(need_program("", "cloister-network"), "cloister-network"),
                    open_program(find_program("", "cloister-sweep")),
                    need_program("", "cloister-relay")};
  sys::UniqueFd records = only ? sys::UniqueFd() : record_directory(options.runtime);
  if (records) sweep_records(records);
  const int records_at = records.borrow();
  const plan::Mode mode = only           ? plan::Mode::private_
                          : options.user ? plan::Mode::user
                                         : plan::Mode::system;
  monitor.emplace(io, std::move(config), mode, std::move(programs), std::move(records),
                  options.journal);
  boost::asio::posix::stream_descriptor signals(io,
                                                ::signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK));
  const bool bound = !only && !listener;
  Reloads reloads(source, monitor->config(), [&](Config fresh) {
    // A user database that was silent at the start may have told of the group now.
    if (bound && fresh.socket_group != monitor->config().socket_group &&
        !give_to_group(options.socket, fresh.socket_group))
      std::fprintf(stderr, "cloisterd: %s: %s\n", options.socket.c_str(), std::strerror(errno));
    monitor->adopt(std::move(fresh));
  });
  const std::function<void()> on_hangup = [&] { reloads.ask([](const auto&) {}); };
  std::optional<ReloadSocket> reload_socket;
  if (records_at >= 0) reload_socket.emplace(io, records_at, reloads);
  read_signals(signals, *monitor, on_hangup);
  if (!only)
    monitor->listen(bound ? bind_socket(options, monitor->config().socket_group)
                          : std::move(listener));
  else if (!meanwhile)
    monitor->serve_only(std::move(only));
  io.run();
  if (bound) ::unlink(options.socket.c_str());
  return EX_OK;
}

}  // namespace
}  // namespace cloister::monitor

int main(int argc, char** argv) { return cloister::monitor::run(argc, argv); }
