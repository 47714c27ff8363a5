// Landlock, landlock(7): what the payload's process forbids itself.
//
// Two domains. The first is the job's, as the Order has it: init makes its rules
// of the mounts that it has just made, by their descriptors, so that they hold for
// these mounts and for nothing else. The second is the client's own: its rules are
// made with the payload's rights, inside its root, and before the limits, under
// which no descriptor might be left to open a path with. Both hold from
// landlock_restrict_self(2) on. Descriptors that the payload already has are no
// paths: they stay what they are.
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/landlock.h>
#include <linux/stat.h>

#include "verbs.hpp"

namespace cloister::init {
namespace {

// As Linux 6.12 has them. A kernel that knows less takes what it does not know
// only as zero (E2BIG), so nothing is forgotten.
struct RulesetAttributes {
  uint64_t handled_fs, handled_net, scoped;
};
struct __attribute__((packed)) PathBeneath {
  uint64_t access;
  int32_t parent;
};
struct NetPort {
  uint64_t access, port;
};
constexpr int kRulePath = 1, kRulePort = 2;        // LANDLOCK_RULE_*
constexpr uint64_t kBindTcp = 1, kConnectTcp = 2;  // LANDLOCK_ACCESS_NET_*

// The others are about what is in a directory: on a file the kernel refuses
// them, and there they would allow nothing.
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                              LANDLOCK_ACCESS_FS_READ_FILE | 1 << 14 /* TRUNCATE */ |
                              1 << 15 /* IOCTL_DEV */;

void allow_path(Job& job, const plan::LandlockPath& path, uint32_t index) {
  constexpr Step step = Step::landlock_rules;
  const int fd =
      must_fd(job, step,
              call(Call::openat, AT_FDCWD, job.plan().c_str(path.path), O_PATH | O_CLOEXEC), index);
  struct stat status {};
  must(job, step, call(Call::fstat, fd, &status), index);
  const uint64_t access = S_ISDIR(status.st_mode) ? path.access : path.access & kOfFiles;
  const PathBeneath rule{access, fd};
  must(job, step, call(Call::landlock_add_rule, job.landlock, kRulePath, &rule, 0), index);
  close(fd);
}

void allow_ports(Job& job, plan::Span<uint32_t> ports, uint64_t access) {
  for (uint32_t i = 0; i < ports.count; ++i) {
    const NetPort rule{access, job.plan().at(ports, i)};
    must(job, Step::landlock_rules,
         call(Call::landlock_add_rule, job.landlock, kRulePort, &rule, 0), i);
  }
}

}  // namespace

void prepare_landlock(Job& job) {
  const plan::Landlock& wanted = job.header().landlock;
  if (!wanted.any()) return;
  constexpr Step step = Step::landlock_rules;
  const RulesetAttributes attributes{wanted.handled_fs, wanted.handled_net, wanted.scoped};
  const int fd =
      must_fd(job, step, call(Call::landlock_create_ruleset, &attributes, sizeof attributes, 0));
  // Out of the way of the payload's own numbers.
  job.landlock = must_fd(job, step, call(Call::fcntl, fd, F_DUPFD_CLOEXEC, job.first_hidden));
  close(fd);
  for (uint32_t i = 0; i < wanted.paths.count; ++i)
    allow_path(job, job.plan().at(wanted.paths, i), i);
  allow_ports(job, wanted.bind_tcp, kBindTcp);
  allow_ports(job, wanted.connect_tcp, kConnectTcp);
}

void make_domain(Job& job) {
  const plan::Order& order = job.order;
  if ((order.scoped | order.confined_fs) == 0) return;
  const RulesetAttributes attributes{order.confined_fs, 0, order.scoped};
  job.domain = must_fd(job, Step::landlock_rules,
                       call(Call::landlock_create_ruleset, &attributes, sizeof attributes, 0));
}

// On everything below `tree`, and on what is mounted there.
void allow_changes_in(Job& job, int tree) {
  const uint64_t confined = job.order.confined_fs;
  if (confined == 0) return;
  struct stat status {};
  must(job, Step::landlock_rules, call(Call::fstat, tree, &status));
  const PathBeneath rule{S_ISDIR(status.st_mode) ? confined : confined & kOfFiles, tree};
  must(job, Step::landlock_rules, call(Call::landlock_add_rule, job.domain, kRulePath, &rule, 0));
}

void enter_landlock(Job& job) {
  const int rulesets[] = {job.domain, job.landlock};
  for (const int ruleset : rulesets) {
    if (ruleset == 0) continue;
    must(job, Step::landlock, call(Call::landlock_restrict_self, ruleset, 0));
    close(ruleset);
  }
}

}  // namespace cloister::init
