#include "admit/peer.hpp"
#include "sys/root.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace cloister::monitor {
namespace {

// A file of /proc/PID, whole; the files read here fit one page.
std::string read_proc(pid_t pid, const char* file) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  char text[8192];
  const ssize_t size = ::read(fd.borrow(), text, sizeof text);
  return size > 0 ? std::string(text, static_cast<size_t>(size)) : std::string();
}

std::string_view field(std::string_view status, std::string_view name) {
  const size_t at = status.find(name);
  if (at == std::string_view::npos) return {};
  std::string_view rest = status.substr(at + name.size());
  rest = rest.substr(0, rest.find('\n'));
  const size_t first = rest.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view{} : rest.substr(first);
}

template <class T>
T number(std::string_view text, int base = 10) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

// "Uid:\t0\t0\t0\t0": real, effective, saved and file-system uid.
bool all_uids_are(std::string_view uids, uid_t uid) {
  for (int i = 0; i < 4; ++i) {
    uid_t value{};
    const auto [end, error] = std::from_chars(uids.data(), uids.data() + uids.size(), value);
    if (error != std::errc{} || value != uid) return false;
    uids.remove_prefix(static_cast<size_t>(end - uids.data()));
    uids.remove_prefix(std::min(uids.find_first_not_of(" \t"), uids.size()));
  }
  return true;
}

bool alive(const sys::UniqueFd& pidfd) {
  pollfd poll_one{pidfd.borrow(), POLLIN, 0};
  return ::poll(&poll_one, 1, 0) == 0;
}

constexpr const char* kPlaces[] = {"ns/user", "ns/mnt", "ns/pid", "root"};
constexpr const char* kNamespaceFiles[plan::kNamespaces] = {
    "ns/mnt", "ns/pid", "ns/net", "ns/ipc", "ns/uts", "ns/cgroup", "ns/user", "ns/time"};

uint32_t filters_in(std::string_view status) {
  const bool filtered = number<int>(field(status, "\nSeccomp:")) != 0;
  // Linux 5.9 counts them.
  return std::max<uint32_t>(filtered, number<uint32_t>(field(status, "\nSeccomp_filters:")));
}

// 4294967295 where there is none, and no file where the kernel has no audit.
uint32_t login_uid_of(pid_t pid) {
  const std::string text = read_proc(pid, "loginuid");
  return text.empty() ? plan::kNone : number<uint32_t>(text);
}

}  // namespace

bool Peer::in_group(gid_t group) const {
  return group == gid || std::find(groups.begin(), groups.end(), group) != groups.end();
}

const std::optional<Peer::Own>& Peer::own() const {
  if (std::exchange(own_read_, true)) return own_;
  // proc_pid_limits(5): name, soft, hard, in columns of 26, 21 and 21. The
  // lines follow the numbering of RLIMIT_*.
  const std::string text = read_proc(pid, "limits");
  std::string_view lines = text;
  Own own{};
  for (uint64_t& limit : own.hard_limits) {
    const size_t end = lines.find('\n');
    if (end == std::string_view::npos) return own_;
    lines.remove_prefix(end + 1);
    const std::string_view hard = lines.substr(0, lines.find('\n')).substr(26 + 21);
    limit = hard.starts_with("unlimited") ? RLIM_INFINITY : number<uint64_t>(hard);
  }
  errno = 0;  // -1 is a priority too, getpriority(2)
  own.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(pid));
  own.oom_score_adj = number<int>(read_proc(pid, "oom_score_adj"));
  const int error = errno;
  own.login_uid = login_uid_of(pid);
  errno = error;
  if (errno == 0 && alive(pidfd)) own_ = own;
  return own_;
}

std::string Peer::cgroups() const {
  const std::string text = read_proc(pid, "cgroup");
  return alive(pidfd) ? text : std::string();
}

std::optional<Peer> peer_of(int connection) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return {};
  Peer peer;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  peer.pid = credentials.pid;
  size = 64 * sizeof(gid_t);
  peer.groups.resize(64);
  while (::getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &size) < 0) {
    if (errno != ERANGE || size > plan::kMaxGroups * sizeof(gid_t)) return {};
    peer.groups.resize(size / sizeof(gid_t));
  }
  peer.groups.resize(size / sizeof(gid_t));
  return peer;
}

bool complete(Peer& peer, int connection) {
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
    pidfd = static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0));  // before Linux 6.5
  peer.pidfd.reset(pidfd);
  if (!peer.pidfd) return false;

  const std::string status = read_proc(peer.pid, "status");
  if (status.empty()) return false;
  peer.no_new_privs = number<int>(field(status, "\nNoNewPrivs:")) != 0;
  peer.filters = filters_in(status);
  peer.label = label_of(peer.pid);
  // A process that is not wholly root has no powers here, even if it runs a
  // set-uid or file-capability program just now: the connection may be shared.
  if (peer.uid == 0 && all_uids_are(field(status, "\nUid:"), 0)) {
    peer.permitted = number<uint64_t>(field(status, "\nCapPrm:"), 16);
    peer.bounding = number<uint64_t>(field(status, "\nCapBnd:"), 16);
  }
  return alive(peer.pidfd);
}

Surroundings::Surroundings() {
  for (size_t i = 0; i < own_.size(); ++i) {
    struct stat place {};
    if (::stat((std::string("/proc/self/") + kPlaces[i]).c_str(), &place) == 0)
      own_[i] = {place.st_dev, place.st_ino};
  }
  for (size_t i = 0; i < namespaces_.size(); ++i) {
    struct stat place {};
    if (::stat((std::string("/proc/self/") + kNamespaceFiles[i]).c_str(), &place) == 0)
      namespaces_[i] = {place.st_dev, place.st_ino};
  }
  filters_ = filters_in(read_proc(::getpid(), "status"));
  label_ = label_of(::getpid());
  login_uid_ = login_uid_of(::getpid());
}

// What cannot be looked at is taken for another's, but by a user's own service:
// its peer is that user, and can do alone what it does through us.
uint32_t Surroundings::elsewhere(const Peer& peer) const {
  uint32_t bits = 0;
  for (size_t i = 0; i < namespaces_.size(); ++i) {
    struct stat place {};
    const std::string path = "/proc/" + std::to_string(peer.pid) + "/" + kNamespaceFiles[i];
    if (::stat(path.c_str(), &place) < 0) {
      // A kernel that has no such namespaces has one for all.
      if (errno == ENOENT && namespaces_[i] == Place{}) continue;
      if (errno == EACCES && ::geteuid() != 0) continue;
      bits |= uint32_t{1} << i;
    } else if (namespaces_[i] != Place{place.st_dev, place.st_ino}) {
      bits |= uint32_t{1} << i;
    }
  }
  return bits;
}

plan::Reason Surroundings::confinement_of(const Peer& peer) const {
  for (size_t i = 0; i < own_.size(); ++i) {
    struct stat place {};
    const std::string path = "/proc/" + std::to_string(peer.pid) + "/" + kPlaces[i];
    if (::stat(path.c_str(), &place) < 0) {
      // As a user we may not look at a peer that is not dumpable; it is
      // ourselves, and what it could not do alone it cannot do through us.
      if (errno == EACCES && !sys::is_root()) continue;
      return plan::Reason::caller_is_gone;
    }
    if (own_[i] != Place{place.st_dev, place.st_ino}) return plan::Reason::confined_caller;
  }
  if (is_job_ && is_job_(read_proc(peer.pid, "cgroup"))) return plan::Reason::confined_caller;
  if (filters(peer)) return plan::Reason::seccomp_filter;
  if (confines(peer.label)) return plan::Reason::lsm_label;
  return alive(peer.pidfd) ? plan::Reason::none : plan::Reason::caller_is_gone;
}

}  // namespace cloister::monitor
