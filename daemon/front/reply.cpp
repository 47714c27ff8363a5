#include "reply.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

#include "sys/names.hpp"

namespace cloister::front {
namespace {

// One sentence for each rule of the monitor's: why, and what to do.
struct Hint {
  const char* rule;
  const char* text;
};
constexpr Hint kHints[] = {
    {"own-uid", "you may run as yourself; other uids need a grant in cloisterd.json"},
    {"own-groups", "you may use your own groups; others need a grant in cloisterd.json"},
    {"a-lease-is-for-both-maps", "uid_map and gid_map are leased together: say both or neither"},
    {"leased-ids-leave-nothing",
     "the next job gets these ids: new mnt, pid and ipc namespaces, and nothing writable of the "
     "host"},
    {"leased-ids-are-the-hosts", "a dynamic identity has no user namespace of its own"},
    {"set-uid-files-need-a-grant",
     "root may grant set_uid_files in cloisterd.json; a machine makes them with ids of its own"},
    {"340-lines", "a map has at most 340 lines, user_namespaces(7)"},
    {"less-than-a-page",
     "the kernel takes less than a page of text for a map, user_namespaces(7): fewer lines"},
    {"groups-are-not-shed",
     "a group can be there to keep you out of files, so the list must name all groups you have"},
    {"namespaces-need-no-new-privs",
     "without a user namespace of its own, a job in new namespaces needs no_new_privs: true"},
    {"not-below-own-nice", "a job cannot be nicer to itself than its caller; raise nice"},
    {"real-time-needs-CAP_SYS_NICE", "only a caller with CAP_SYS_NICE may ask for real-time"},
    {"not-below-own", "a job may be killed first, not last: raise oom_score_adj"},
    {"not-above-own-hard-limit", "the hard limit is above your own; see ulimit -H"},
    {"not-beyond-own-capabilities",
     "you hold less; in a user namespace of the job's own (namespaces.user: \"new\") any set is "
     "fine"},
    {"capabilities-need-new-user-namespace",
     "here capabilities count only in a user namespace of the job's own: namespaces.user: \"new\""},
    {"user-namespaces-are-restricted",
     "this host keeps unprivileged users from capabilities in user namespaces"},
    {"securebits-need-no-new-privs",
     "with them a set-uid program could be led astray; say no_new_privs: true"},
    {"seccomp-filter",
     "you run under a seccomp filter that your jobs would not have; see allow_confined_callers in "
     "cloisterd.json"},
    {"lsm-label",
     "files would be opened for you without your security label; see allow_confined_callers in "
     "cloisterd.json"},
    {"namespace-owner", "a namespace may be joined only by the user who owns its user namespace"},
    {"own-jobs", "namespaces can be joined of your own running jobs"},
    {"caller-is-gone", "the process that opened this connection has ended"},
    {"directories-are-granted-by-name",
     "a directory descriptor opens a way out of the sandbox; say \"directory\": true to grant it"},
    {"no-path-descriptors", "an O_PATH descriptor opens a way out of the sandbox"},
    {"no-block-devices", "block devices are not handed into a sandbox"},
    {"no-namespace-descriptors", "namespaces are joined with the field namespaces"},
    {"sockets-are-unix-or-inet", "only AF_UNIX, AF_INET and AF_INET6 sockets may be passed"},
};

std::string hint_for(const char* rule) {
  // "builds/nice": a member of a rule in cloisterd.json.
  if (const char* member = std::strchr(rule, '/'))
    return std::string("the administrator's rule bounds this: ") + (member + 1) +
           " in cloisterd.json(5)";
  for (const Hint& hint : kHints)
    if (std::strcmp(hint.rule, rule) == 0) return hint.text;
  return {};
}

}  // namespace

varlink::Reply reply_to(const Problem& problem) {
  switch (problem.kind) {
    case Problem::Kind::unsupported: return varlink::unsupported(problem.field, problem.reason);
    case Problem::Kind::failed: {
      Failure failure;
      failure.stage = "front";
      failure.step = "resolve";
      failure.field = problem.field;
      failure.error_number = problem.error;
      failure.errno_name = sys::errno_name(problem.error);
      failure.message = problem.reason;
      failure.hint = problem.expected;
      return varlink::launch_failed(failure);
    }
    case Problem::Kind::invalid: break;
  }
  return varlink::invalid_request(problem.field, problem.reason, problem.expected, problem.got);
}

varlink::Reply reply_to(const plan::Refusal& refusal, const std::string& id) {
  using plan::RefusalKind;
  switch (refusal.kind) {
    case RefusalKind::denied: {
      // Two zeros: this rule compares no numbers.
      const auto number = [&](uint64_t value) -> std::optional<int64_t> {
        if (refusal.limit == 0 && refusal.requested == 0) return {};
        return static_cast<int64_t>(value);
      };
      return varlink::denied(refusal.field, refusal.rule, number(refusal.limit),
                             number(refusal.requested), hint_for(refusal.rule), refusal.policy);
    }
    case RefusalKind::busy:
      return varlink::busy(refusal.detail ? refusal.detail : 100, refusal.requested, 0,
                           refusal.limit, refusal.rule);
    case RefusalKind::shutting_down: return varlink::busy(1000, {}, {}, {});
    case RefusalKind::no_such_job: return varlink::no_such_job(id);
    case RefusalKind::launch_failed:
      return varlink::launch_failed(varlink::make_failure(refusal.failure));
    case RefusalKind::key_reused:
      return varlink::invalid_request(refusal.field, "names another request already",
                                      "a new key for a new request", "");
    case RefusalKind::unsupported: return varlink::unsupported(refusal.field, refusal.rule);
    case RefusalKind::none:
    case RefusalKind::invalid:
    case RefusalKind::misconfigured:  // said by main.cpp, which has the place
      break;
  }
  return varlink::invalid_request(refusal.field, refusal.rule, "", "");
}

JobPlan::JobPlan(const sys::UniqueFd& memfd) {
  struct stat info {};
  if (::fstat(memfd.borrow(), &info) < 0) return;
  void* block =
      ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, memfd.borrow(), 0);
  if (block == MAP_FAILED) return;
  block_ = block;
  bytes_ = static_cast<size_t>(info.st_size);
}

JobPlan::~JobPlan() {
  if (block_) ::munmap(block_, bytes_);
}

}  // namespace cloister::front
