// namespaces: words, nsfs descriptors, pidfds and jobs.
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "plan/namespaces.hpp"
#include "resolve/draft.hpp"
#include "sys/root.hpp"
#include "varlink/render.hpp"

namespace cloister::front {
namespace {

using Choice = std::optional<NamespaceChoice> Namespaces::*;
constexpr Choice kChoices[plan::kNamespaces] = {
#define X(id, flag, step, for_children) &Namespaces::id,
    CLOISTER_NAMESPACES(X)
#undef X
};

// The process of a pidfd: its pid, 0 if `fd` is no pidfd, -1 if the process is
// gone or is not of our pid namespace (fdinfo, Linux 5.2).
request::Result<pid_t> pid_of(const std::string& field, int fd) {
  char link[64];
  const std::string self = std::to_string(fd);
  const ssize_t size = ::readlink(("/proc/self/fd/" + self).c_str(), link, sizeof link - 1);
  if (size < 0) return failed_call(field, "cannot be identified", errno);
  const std::string_view target(link, static_cast<size_t>(size));
  // Since Linux 6.9 pidfds have a file system of their own, and inode numbers.
  if (target != "anon_inode:[pidfd]" && !target.starts_with("pidfd:[")) return pid_t{0};

  const sys::UniqueFd info(::open(("/proc/self/fdinfo/" + self).c_str(), O_RDONLY | O_CLOEXEC));
  if (!info) return failed_call(field, "cannot be identified", errno);
  char text[1024];
  const ssize_t got = ::read(info.borrow(), text, sizeof text - 1);
  if (got < 0) return failed_call(field, "cannot be identified", errno);
  text[got] = '\0';
  const char* const label = std::strstr(text, "\nPid:\t");
  pid_t pid = -1;
  if (label) std::from_chars(label + 6, text + got, pid);
  return pid > 0 ? pid : -1;
}

bool has_ended(int pidfd) {
  pollfd poll{pidfd, POLLIN, 0};
  return ::poll(&poll, 1, 0) != 0;
}

// Opened by pid, so the pidfd is asked afterwards: while its process lives,
// the pid is that process's.
request::Result<sys::UniqueFd> open_of_process(const std::string& field, int pidfd, pid_t pid,
                                               const char* name) {
  const auto gone = [&] { return refused(field, "names a process that has ended"); };
  if (pid < 0) return gone();
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/" + name;
  sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const int error = errno;
  if (has_ended(pidfd)) return gone();
  if (!fd) return failed_call(field, "cannot open the namespace of that process", error);
  return fd;
}

std::string name_of_flag(int flag) {
  for (const plan::NamespaceInfo& kind : plan::kNamespaceTable)
    if (static_cast<int>(kind.flag) == flag) return kind.word;
  return "unknown";
}

class NamespaceResolver {
 public:
  NamespaceResolver(Draft& draft, uint32_t which)
      : draft_(draft),
        kind_(plan::kNamespaceTable[which]),
        out_(draft.plan->namespaces[which]),
        field_(kind_.field) {
    out_.descriptor = plan::kNone;
  }

  MaybeProblem operator()(const NewNamespace&) {
    out_.join = plan::Join::fresh;
    return std::nullopt;
  }
  MaybeProblem operator()(const HostNamespace&) {
    out_.join = plan::Join::host;
    return std::nullopt;
  }
  // Only for the user namespace: one where it is needed.
  MaybeProblem operator()(const AutoNamespace&) {
    bool others = false;
    for (const plan::NamespaceInfo& kind : plan::kNamespaceTable) {
      if (kind.id == kind_.id) continue;
      const NamespaceChoice& choice =
          *(draft_.request.namespaces.*kChoices[static_cast<size_t>(kind.id)]);
      others |= !std::holds_alternative<HostNamespace>(choice);
      // Rootless, the powers to join what is another job's come with its user namespace.
      if (draft_.caller.mode != plan::Mode::system && !sys::is_root())
        if (const auto* job = std::get_if<JobNamespace>(&choice)) return (*this)(*job);
    }
    // A new one that rootless jobs need is the monitor's to make: init is born in it.
    const bool ordinary = draft_.caller.mode == plan::Mode::system && draft_.caller.uid != 0;
    const bool privileges_grow = !*draft_.request.no_new_privs && !draft_.caller.no_new_privs;
    if (ordinary && others && privileges_grow && runs_as_caller()) return (*this)(NewNamespace{});
    return (*this)(HostNamespace{});
  }

  MaybeProblem operator()(const JobNamespace& job) {
    const auto id = varlink::parse_job_name(job.id);
    if (!id)
      return refused(field_ + ".job", "is not a job id", "j- and 32 hexadecimal digits", job.id);
    out_.join = plan::Join::job;
    std::memcpy(out_.job, id->data(), sizeof out_.job);
    return std::nullopt;
  }

  MaybeProblem operator()(const PassedFd& passed) {
    const std::string field = field_ + ".passed_fd";
    out_.join = plan::Join::descriptor;
    const int fd = draft_.descriptors.peek(passed.index);
    if (fd >= 0) {
      const auto pid = pid_of(field, fd);
      if (!pid) return pid.error();
      if (*pid != 0) return join_process(field, passed.index, *pid);
      const int type = ::ioctl(fd, NS_GET_NSTYPE);
      if (type < 0)
        return refused(field, "is neither a namespace nor a pidfd",
                       "a /proc/PID/ns file or a pidfd");
      if (type != static_cast<int>(kind_.flag))
        return refused(field, "is a namespace of another type", kind_.word, name_of_flag(type));
    }
    const auto descriptor = draft_.descriptors.pass(field, passed.index, plan::Use::namespace_join);
    if (!descriptor) return descriptor.error();
    out_.descriptor = *descriptor;
    return std::nullopt;
  }

 private:
  // Other ids are the host's, and a user namespace of its own would give them
  // another meaning.
  bool runs_as_caller() const {
    const plan::Identity& id = draft_.plan->identity;
    const Caller& caller = draft_.caller;
    return id.ruid == caller.uid && id.euid == caller.uid && id.suid == caller.uid &&
           id.rgid == caller.gid && id.egid == caller.gid && id.sgid == caller.gid;
  }

  MaybeProblem join_process(const std::string& field, uint32_t index, pid_t pid) {
    const auto pidfd = draft_.descriptors.stand_in(field, index);
    if (!pidfd) return pidfd.error();
    auto fd = open_of_process(field, *pidfd, pid, kind_.word);
    // A front of root's has not the powers of root's process, so it may not look
    // into that; init opens it, and the monitor judges what it is.
    if (!fd && fd.error().error == EACCES && draft_.caller.mode == plan::Mode::system &&
        draft_.caller.uid == 0)
      fd = sys::UniqueFd(::fcntl(*pidfd, F_DUPFD_CLOEXEC, 0));
    if (!fd) return fd.error();
    out_.descriptor = draft_.descriptors.add(*std::move(fd), plan::Use::namespace_join);
    return std::nullopt;
  }

  Draft& draft_;
  const plan::NamespaceInfo& kind_;
  plan::NamespaceChoice& out_;
  std::string field_;
};

}  // namespace

MaybeProblem resolve_namespaces(Draft& draft) {
  const Request& request = draft.request;
  for (uint32_t i = 0; i < plan::kNamespaces; ++i)
    if (auto problem = std::visit(NamespaceResolver(draft, i), *(request.namespaces.*kChoices[i])))
      return problem;

  const auto lines = [&](const std::optional<IdMap>& map) {
    std::vector<plan::IdMap> list;
    for (const IdMapping& line : lines_of(map).value_or(std::vector<IdMapping>{}))
      list.push_back({line.inside, line.outside, line.count});
    return draft.plan.span(list);
  };
  plan::Header& header = draft.plan.header();
  header.uid_map = lines(request.uid_map);
  header.gid_map = lines(request.gid_map);
  if (is_subordinate(request.uid_map)) header.id_choices |= plan::kSubordinateUids;
  if (is_subordinate(request.gid_map)) header.id_choices |= plan::kSubordinateGids;
  header.hostname = draft.plan.text(request.hostname.value_or(""));
  header.domainname = draft.plan.text(request.domainname.value_or(""));
  if (request.time_offsets) {
    header.flags |= plan::kTimeOffsets;
    header.monotonic_offset_ns = request.time_offsets->monotonic_ns.value_or(0);
    header.boottime_offset_ns = request.time_offsets->boottime_ns.value_or(0);
  }
  // Only a namespace of the job's own: the loopback of another is not ours.
  if (request.network && !std::holds_alternative<HostNetwork>(*request.network))
    header.flags |= plan::kLoopbackUp;
  if (const auto* const outbound =
          request.network ? std::get_if<Outbound>(&*request.network) : nullptr)
    if (auto problem = resolve_outbound(draft, *outbound)) return problem;

  std::vector<plan::Sysctl> sysctls;
  for (const auto& [name, value] : request.sysctls) {
    std::string path = name;
    for (char& c : path)
      if (c == '.') c = '/';
    sysctls.push_back({draft.plan.text(path), draft.plan.text(value)});
  }
  header.sysctls = draft.plan.span(sysctls);
  return std::nullopt;
}

}  // namespace cloister::front
