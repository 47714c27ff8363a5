#include "init_driver.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "plan/view.hpp"
#include "sys/rights.hpp"

namespace cloister::test {
namespace {

using plan::kNone;

long checked(long result, const char* what) {
  if (result < 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
  return result;
}

sys::UniqueFd memory_file(const std::string& bytes) {
  sys::UniqueFd fd(static_cast<int>(checked(::memfd_create("test", MFD_CLOEXEC), "memfd")));
  checked(::write(fd.borrow(), bytes.data(), bytes.size()), "write");
  return fd;
}

void pair(sys::UniqueFd& ours, sys::UniqueFd& theirs) {
  int ends[2];
  checked(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
  ours.reset(ends[0]);
  theirs.reset(ends[1]);
}

// `name`: a variable of the environment, which meson.build sets.
const char* program_of(const char* name) {
  const char* path = std::getenv(name);
  if (!path) throw std::runtime_error(std::string(name) + " does not name the program");
  return path;
}

}  // namespace

Driver::Driver() {
  plan::Header& h = plan.header();
  h.umask = 022;
  for (auto& limit : h.rlimits) limit = {UINT64_MAX, UINT64_MAX, 0, 0};
  for (uint32_t i = 0; i < plan::kRlimits; ++i) {
    uint64_t now[2];
    checked(::syscall(SYS_prlimit64, 0, i, nullptr, now), "prlimit");
    order.rlimit_hard[i] = now[1];
  }
  order.version = plan::kOrderVersion;
  for (int i = 0; i < 16; ++i) order.job[i] = static_cast<uint8_t>(i + 1);
  shell("exit 0");
  env = {"PATH=/usr/bin:/bin"};
}

Driver::~Driver() {
  if (init_ > 0 && !ended_) {
    ::kill(init_, SIGKILL);
    ::waitpid(init_, nullptr, 0);
  }
}

void Driver::shell(const std::string& script) { argv = {"/bin/sh", "-c", script}; }

void Driver::fresh(plan::Namespace which) {
  plan->namespaces[static_cast<uint32_t>(which)].join = plan::Join::fresh;
  if (which == plan::Namespace::pid) {
    clone_flags |= CLONE_NEWPID;
    order.flags |= plan::kFreshPid;
  }
}

uint32_t Driver::pass(int fd, plan::Use use) {
  descriptors.push_back({use, 0});
  sources_.push_back(fd);
  return static_cast<uint32_t>(descriptors.size() - 1);
}

void Driver::receive(int fd, int at) {
  const uint32_t index = pass(fd, plan::Use::payload);
  act(plan::Op::receive, at).descriptor = index;
}

plan::Action& Driver::act(plan::Op op, int fd, int new_fd, const std::string& path) {
  plan::Action action{};
  action.op = op;
  action.fd = fd;
  action.new_fd = new_fd;
  action.descriptor = kNone;
  action.path = plan.text(path);
  action.index = static_cast<uint32_t>(actions.size());
  actions.push_back(action);
  return actions.back();
}

plan::Mount& Driver::mount(plan::MountKind kind, const std::string& at, uint32_t flags) {
  plan::Mount mount{};
  mount.kind = kind;
  mount.flags = flags;
  mount.descriptor = kNone;
  mount.at = plan.text(at);
  mount.source = plan.text("");
  mount.data = plan.text("");
  mounts.push_back(mount);
  return mounts.back();
}

plan::Mount& Driver::bind(const std::string& source, const std::string& at, uint32_t flags) {
  kept_.emplace_back(static_cast<int>(checked(::open(source.c_str(), O_PATH | O_CLOEXEC), "open")));
  const uint32_t index = pass(kept_.back().borrow(), plan::Use::mount);
  plan::Mount& made = mount(plan::MountKind::bind, at, flags);
  made.descriptor = index;
  made.source = plan.text(source);
  return made;
}

void Driver::host_tree() {
  fresh(plan::Namespace::mnt);
  fresh(plan::Namespace::pid);
  bind("/", "/",
       plan::kMountReadOnly | plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive);
  mount(plan::MountKind::tmpfs, "/tmp").mode = 01777;
  mount(plan::MountKind::dev, "/dev");
  mount(plan::MountKind::proc, "/proc");
}

void Driver::capture() {
  int ends[2];
  checked(::pipe2(ends, O_CLOEXEC), "pipe");
  out_.reset(ends[0]);
  kept_.emplace_back(ends[1]);
  receive(ends[1], 1);
}

std::string Driver::finish_plan() {
  plan::Header& h = plan.header();
  if (h.executable.length == 0) h.executable = plan.text(argv.at(0));
  h.argv = plan.texts(argv);
  h.env = plan.texts(env);
  h.actions = plan.span(actions);
  h.mounts = plan.span(mounts);
  h.descriptors = plan.span(descriptors);
  h.sysctls = plan.span(sysctls);
  h.landlock.paths = plan.span(landlock_paths);
  h.published = plan.span(published);
  h.identity.groups = plan.span(groups);
  std::string block = plan.finish();
  if (spoil) spoil(block);
  return block;
}

void Driver::start() {
  sys::UniqueFd init_control, init_passed;
  pair(control_, init_control);
  pair(passed_, init_passed);
  const int on = 1;
  checked(::setsockopt(control_.borrow(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), "passcred");
  const sys::UniqueFd block = memory_file(finish_plan());
  record_ = memory_file(std::string(plan::kRecordBytes, '\0'));
  const sys::UniqueFd null(
      static_cast<int>(checked(::open("/dev/null", O_RDWR | O_CLOEXEC), "null")));
  const sys::UniqueFd program(static_cast<int>(checked(
      ::open(program_of(pasta < 0 ? "CLOISTER_INIT" : "CLOISTER_NETWORK"), O_PATH | O_CLOEXEC),
      "the program")));
  order.join_count = static_cast<uint32_t>(joins.size()) - order.tasks_count;
  // Init maps the job's own user namespace itself; the monitor's maps are of its birth.
  if (plan->namespaces[static_cast<int>(plan::Namespace::user)].join == plan::Join::fresh &&
      uid_map.empty())
    uid_map = gid_map = {{0, 0, 1}};
  order.uid_lines = static_cast<uint32_t>(uid_map.size());
  order.gid_lines = static_cast<uint32_t>(gid_map.size());
  order.client_uid_lines = static_cast<uint32_t>(client_uids.size());
  order.client_gid_lines = static_cast<uint32_t>(client_gids.size());
  std::string message(reinterpret_cast<const char*>(&order), sizeof order);
  for (const auto* map : {&uid_map, &gid_map, &client_uids, &client_gids})
    message.append(reinterpret_cast<const char*>(map->data()), map->size() * sizeof(plan::IdMap));
  if (spoil_order) spoil_order(message);
  if (ahead) {
    plan::Order first{};
    first.version = plan::kOrderVersion;
    first.flags = plan::kAhead;
    checked(::send(control_.borrow(), &first, sizeof first, 0), "ahead");
  }
  checked(::send(control_.borrow(), message.data(), message.size(), 0), "order");

  std::vector<std::pair<int, int>> moves = {
      {null.borrow(), 0},
      {null.borrow(), 1},
      {null.borrow(), 2},
      {init_control.borrow(), plan::kControlFd},
      {pasta >= 0 ? pasta : init_passed.borrow(), plan::kPassedFd},
      {block.borrow(), plan::kPlanFd},
      {record_.borrow(), plan::kRecordFd}};
  if (cgroup >= 0) moves.push_back({cgroup, plan::kPayloadCgroupFd});
  if (cgroup_kill >= 0) moves.push_back({cgroup_kill, plan::kCgroupKillFd});
  for (size_t i = 0; i < joins.size(); ++i)
    moves.push_back({joins[i], plan::kFirstJoinFd + static_cast<int>(i)});
  for (size_t i = 0; i < pipes.size(); ++i)
    moves.push_back({pipes[i], plan::kFirstJoinFd + static_cast<int>(joins.size() + i)});

  clone_args args{};
  args.flags = clone_flags;
  args.exit_signal = SIGCHLD;
  if (uid != 0) {
    // The user namespace belongs to who makes it: a parent with that uid.
    checked(::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), "keepcaps");
    if (::setegid(uid) < 0 || ::seteuid(uid) < 0) throw std::runtime_error("seteuid");
  }
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) {
    if (uid != 0) {
      // From here as that user for good, with the powers of the new namespace.
      const bool plain = !(clone_flags & CLONE_NEWUSER);
      if (plain &&
          (::syscall(SYS_setresuid, 0, 0, 0) < 0 || ::syscall(SYS_setgroups, 0, nullptr) < 0 ||
           ::syscall(SYS_setresgid, uid, uid, uid) < 0 ||
           ::syscall(SYS_setresuid, uid, uid, uid) < 0))
        ::_exit(119);
      if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) ::_exit(120);
    }
    for (auto& [from, to] : moves)
      if ((from = ::fcntl(from, F_DUPFD_CLOEXEC, 64)) < 0) ::_exit(121);
    const int exe = ::fcntl(program.borrow(), F_DUPFD_CLOEXEC, 64);
    ::syscall(SYS_close_range, 3, 63, 0);
    for (const auto& [from, to] : moves)
      if (::dup2(from, to) < 0) ::_exit(122);
    if (uid != 0) {
      struct {
        uint32_t version;
        int pid;
      } head{0x20080522, 0};
      struct {
        uint32_t effective, permitted, inheritable;
      } data[2]{};
      if (::syscall(SYS_capget, &head, data) < 0) ::_exit(123);
      for (auto& half : data) half.inheritable = half.effective = half.permitted;
      if (::syscall(SYS_capset, &head, data) < 0) ::_exit(124);
      for (int cap = 0; cap < 64; ++cap) ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    }
    if (before_exec) before_exec();
    const char* name[] = {"cloister-init", nullptr};
    const char* none[] = {nullptr};
    ::syscall(SYS_execveat, exe, "", name, none, AT_EMPTY_PATH);
    ::_exit(125);
  }
  const int error = errno;
  if (uid != 0 && (::seteuid(0) < 0 || ::setegid(0) < 0)) std::abort();
  errno = error;
  init_ = static_cast<pid_t>(checked(pid, "clone3"));
  send_descriptors();
}

void Driver::send_descriptors() {
  size_t total = sources_.size();
  if (announced_descriptors >= 0) total = static_cast<size_t>(announced_descriptors);
  for (size_t at = 0; at < total;) {
    const size_t count = std::min<size_t>(250, total - at);
    char byte = 'D';
    iovec bytes{&byte, 1};
    std::vector<char> space(CMSG_SPACE(count * sizeof(int)));
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = space.data();
    message.msg_controllen = space.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(part), sources_.data() + at, count * sizeof(int));
    // EPIPE: init gave up before; its record says why.
    if (::sendmsg(passed_.borrow(), &message, MSG_NOSIGNAL) < 0 && errno != EPIPE)
      throw std::runtime_error("sendmsg");
    at += count;
  }
  // Nobody else may hold the write end of what init's payload writes.
  if (out_) kept_.clear();
}

void Driver::write_maps() {
  const auto write = [&](const char* file, const std::string& text) {
    const std::string path = "/proc/" + std::to_string(init_) + "/" + file;
    const sys::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.borrow(), text.data(), text.size()) < 0)
      throw std::runtime_error(path + ": " + std::strerror(errno));
  };
  const std::string itself = std::to_string(uid) + " " + std::to_string(uid) + " 1\n";
  if (uid != 0) write("setgroups", "deny");
  write("gid_map", itself);
  write("uid_map", itself);
}

bool Driver::next(plan::Report& report) {
  pollfd set{control_.borrow(), POLLIN, 0};
  if (::poll(&set, 1, 10000) <= 0) return false;
  struct {
    plan::Report report;
    plan::Fact facts[plan::kFactsPerReport];
  } message{};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
  iovec bytes{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = space;
  header.msg_controllen = sizeof space;
  if (::recvmsg(control_.borrow(), &header, MSG_CMSG_CLOEXEC) < static_cast<ssize_t>(sizeof report))
    return false;
  report = message.report;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_type != SCM_RIGHTS) continue;
    int fd;
    std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
    payload_.reset(fd);
  }
  if (report.kind == plan::ReportKind::facts)
    facts_.insert(facts_.end(), message.facts, message.facts + report.count);
  if (report.kind == plan::ReportKind::forked) {
    ucred sender;
    std::memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof sender);
    forked_pid_ = sender.pid;
  }
  return true;
}

size_t Driver::needed_facts() {
  size_t needed = 0;
  for (const plan::Descriptor& each : descriptors) needed += plan::needs_fact(plan.header(), each);
  return needed;
}

bool Driver::await(plan::ReportKind kind) {
  for (plan::Report report{}; next(report);) {
    last_ = report;
    if (!silent && report.kind == plan::ReportKind::facts && facts_.size() == needed_facts())
      command(plan::CommandKind::proceed);
    if (!silent && report.kind == plan::ReportKind::maps) {
      write_maps();
      command(plan::CommandKind::proceed);
    }
    if (report.kind == kind) return true;
  }
  return false;
}

void Driver::command(plan::CommandKind kind, int signal, plan::Scope scope) {
  const plan::Command command{kind, signal, scope, 0};
  checked(::send(control_.borrow(), &command, sizeof command, MSG_NOSIGNAL), "command");
}

void Driver::send_network(int network) {
  const plan::Command command{plan::CommandKind::network, 0, plan::Scope::main, 0};
  if (!sys::send_rights(control_.borrow(), &command, sizeof command, {network}))
    throw std::runtime_error("send_network");
}

void Driver::hang_up() { control_.reset(); }

void Driver::hang_up_front() { passed_.reset(); }

sys::UniqueFd Driver::from_init(char& what) {
  iovec bytes{&what, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = space;
  header.msg_controllen = sizeof space;
  pollfd set{passed_.borrow(), POLLIN, 0};
  if (::poll(&set, 1, 10000) <= 0 || ::recvmsg(passed_.borrow(), &header, MSG_CMSG_CLOEXEC) != 1)
    return {};
  const cmsghdr* part = CMSG_FIRSTHDR(&header);
  int fd = -1;
  if (part) std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
  return sys::UniqueFd(fd);
}

const plan::ExitRecord& Driver::end() {
  if (ended_) return result_;
  if (control_) await(plan::ReportKind::ended);
  for (int waited = 0;; ++waited) {
    const pid_t pid = ::waitpid(init_, &init_status_, WNOHANG);
    if (pid == init_) break;
    if (waited == 1000) throw std::runtime_error("init does not end");
    ::usleep(10000);
  }
  ended_ = true;
  checked(::pread(record_.borrow(), &result_, sizeof result_, 0), "record");
  return result_;
}

const plan::ExitRecord& Driver::run() {
  start();
  return end();
}

const std::string& Driver::output() {
  char bytes[4096];
  while (out_) {
    const ssize_t got = ::read(out_.borrow(), bytes, sizeof bytes);
    if (got <= 0) break;
    output_.append(bytes, static_cast<size_t>(got));
  }
  return output_;
}

int Driver::exit_code() const {
  return result_.ending == plan::Ending::ended && WIFEXITED(result_.wait_status)
             ? WEXITSTATUS(result_.wait_status)
             : -1;
}

}  // namespace cloister::test
