#include "rules.hpp"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>

#include "plan/plan.hpp"
#include "words.hpp"

namespace cloister::request {

const char* env_name_rule(std::string_view key) {
  return key.empty() || key.find('=') != std::string_view::npos ? "a name without =" : nullptr;
}

const char* tag_key_rule(std::string_view key) {
  return key.empty() || key.size() > plan::kMaxName ? "1 to 128 bytes" : nullptr;
}

const char* rlimit_rule(std::string_view key) {
  return value_of(rlimits(), key) ? nullptr : "a name of setrlimit(2) such as RLIMIT_NOFILE";
}

// The name becomes a path below /proc/sys: nothing in it may lead elsewhere.
const char* sysctl_rule(std::string_view key) {
  const char* const expected = "a dotted name such as net.core.somaxconn";
  if (key.size() > 128 || key.find('.') == std::string_view::npos) return expected;
  char last = '.';
  for (const char c : key) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!word && (c != '.' || last == '.')) return expected;
    last = c;
  }
  return last == '.' ? expected : nullptr;
}

// It becomes a file name.
const char* secret_name_rule(std::string_view key) {
  const char* const expected = "1 to 128 letters, digits, and _ - . after the first";
  if (key.empty() || key.size() > plan::kMaxName) return expected;
  bool first = true;
  for (const char c : key) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && (first || (c != '_' && c != '-' && c != '.'))) return expected;
    first = false;
  }
  return nullptr;
}

const char* broken(const OpenAction& action) {
  const bool both = action.flags && (*action.flags & O_ACCMODE) == O_ACCMODE;
  return both ? "O_WRONLY and O_RDWR exclude each other" : nullptr;
}

const char* broken(const CloseRangeAction& action) {
  return action.fd_low > action.fd_high ? "fd_low is above fd_high" : nullptr;
}

const char* broken(const Scheduler& scheduler) {
  const bool deadline = scheduler.policy == SCHED_DEADLINE;
  if (deadline && (!scheduler.runtime_ns || !scheduler.deadline_ns || !scheduler.period_ns))
    return "SCHED_DEADLINE needs runtime_ns, deadline_ns and period_ns";
  if (deadline && (*scheduler.runtime_ns > *scheduler.deadline_ns ||
                   *scheduler.deadline_ns > *scheduler.period_ns))
    return "runtime_ns <= deadline_ns <= period_ns does not hold, sched_setattr(2)";
  if (!deadline && (scheduler.runtime_ns || scheduler.deadline_ns || scheduler.period_ns))
    return "runtime_ns, deadline_ns and period_ns belong to SCHED_DEADLINE";
  if (!scheduler.policy) return nullptr;
  const bool realtime = scheduler.policy == SCHED_FIFO || scheduler.policy == SCHED_RR;
  const int32_t priority = scheduler.priority.value_or(0);
  if (realtime && priority < 1) return "SCHED_FIFO and SCHED_RR need a priority from 1 to 99";
  if (!realtime && priority != 0)
    return "only SCHED_FIFO and SCHED_RR have a priority other than 0";
  return nullptr;
}

const char* broken(const IoPriority& priority) {
  const bool levels =
      priority.io_class == IoClass::realtime || priority.io_class == IoClass::best_effort;
  return !levels && priority.level.value_or(0) != 0 ? "only realtime and best_effort have levels"
                                                    : nullptr;
}

const char* broken(const Ids& ids) {
  return ids.groups && ids.initgroups ? "groups and initgroups exclude each other" : nullptr;
}

const char* broken(const Capture& capture) {
  if (capture.max > plan::kMaxCapture) return "max is above 1T";
  return capture.on_limit == OnLimit::kill && capture.keep
             ? "keep is for output that is truncated, and on_limit ends the job"
             : nullptr;
}

// The last id must be below (uid_t)-1, on both sides.
const char* broken(const IdMapping& line) {
  return line.inside > UINT32_MAX - line.count || line.outside > UINT32_MAX - line.count
             ? "reaches past the last id"
             : nullptr;
}

// Zero is how a Plan says "as usual".
const char* broken(const Tmpfs& tmpfs) {
  return tmpfs.mode == 0u || tmpfs.size == 0u ? "a mode or size of zero would hold nothing"
                                              : nullptr;
}

const char* broken(const Scratch& scratch) {
  if (scratch.size == 0u) return "a size of zero would hold nothing";
  return scratch.on == ScratchPlace::disk && scratch.size ? "size belongs to memory" : nullptr;
}

const char* broken(const FileContent& content) {
  return content.text.has_value() + content.base64.has_value() + content.passed_fd.has_value() != 1
             ? "has not exactly one of text, base64 and passed_fd"
             : nullptr;
}

const char* broken(const Overlay& overlay) {
  return overlay.upper.has_value() != overlay.work.has_value() ? "upper and work go together"
                                                               : nullptr;
}

const char* broken(const Capabilities& sets) {
  const uint64_t permitted = sets.permitted.value_or(0), inheritable = sets.inheritable.value_or(0);
  if (sets.effective.value_or(0) & ~permitted) return "effective has more than permitted";
  if (sets.ambient.value_or(0) & ~(permitted & inheritable))
    return "ambient has a capability that permitted and inheritable do not both have, "
           "capabilities(7)";
  const uint32_t bits = sets.securebits.value_or(0);
  if (bits & SECBIT_KEEP_CAPS) return "SECBIT_KEEP_CAPS is cleared by execve(2)";
  return nullptr;
}

const char* broken(const LandlockPath& path) {
  return path.access == 0 ? "an empty access allows nothing; leave the path out" : nullptr;
}

const char* broken(const Landlock& landlock) {
  const bool governs = landlock.paths || landlock.bind_tcp || landlock.connect_tcp ||
                       landlock.scopes.value_or(0) != 0;
  return governs ? nullptr : "restricts nothing: set paths, bind_tcp, connect_tcp or scopes";
}

const char* broken(const Directory& directory) {
  return directory.mode == 0u ? "a mode of zero lets nobody in" : nullptr;
}

const char* broken(const Mount& mount) {
  int kinds = 0;
#define X(kind, ...) kinds += mount.kind.has_value();
  CLOISTER_REQUEST_MOUNTS(X)
#undef X
  if (kinds != 1)
    return "has not exactly one kind (bind, tmpfs, proc, dev, symlink, dir, scratch...)";
  if (!mount.bind && (mount.nosuid || mount.nodev || mount.recursive || mount.idmap))
    return "nosuid, nodev, recursive and idmap belong to bind";
  if (mount.access && !mount.bind && !mount.file && !mount.tmpfs && !mount.dev && !mount.overlay)
    return "access belongs to bind, file, tmpfs, dev and overlay";
  const bool plain = mount.bind || mount.tmpfs || mount.scratch || mount.overlay;
  if (mount.noexec && !plain && !mount.file)
    return "noexec belongs to bind, file, tmpfs, scratch and overlay";
  if (mount.noatime && !plain) return "noatime belongs to bind, tmpfs, scratch and overlay";
  return nullptr;
}

const char* broken(const Rlimit& limit) {
  return limit.soft > limit.hard ? "soft is above hard" : nullptr;
}

}  // namespace cloister::request
