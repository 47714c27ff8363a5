// Every step between the clone and the payload's first instruction, in the
// order the kernel wants (docs/architecture.md, "The order of a launch").
//
// Init reports a step by number; the front renders the name, the request
// field it belongs to and the stage. One table, read by both.
#pragma once

#include <stdint.h>

namespace cloister::plan {

enum class Stage : uint32_t { none, monitor, init, payload };

// X(enumerator, "name", stage, "request field")
#define CLOISTER_STEPS(X) \
  X(none, "none", none, "") \
  X(record, "record", monitor, "") \
  X(cgroup, "cgroup", monitor, "cgroup") \
  X(clone, "clone", monitor, "namespaces") \
  X(id_map, "id_map", monitor, "uid_map") \
  X(setup_timeout, "setup_timeout", monitor, "lifetime.setup_timeout") \
  X(scratch_store, "scratch_store", monitor, "mounts") \
  X(start, "start", init, "") \
  X(plan, "plan", init, "") \
  X(descriptors, "descriptors", init, "") \
  X(facts, "facts", init, "") \
  X(loginuid, "loginuid", init, "") \
  X(join, "setns", init, "namespaces") \
  X(sources, "open_tree", init, "mounts") \
  X(scratch, "scratch", init, "mounts") \
  X(mount_namespace, "unshare_mnt", init, "namespaces.mnt") \
  X(idmap, "idmap", init, "mounts") \
  X(overlay, "overlay", init, "mounts") \
  X(content, "content", init, "mounts") \
  X(mounts, "mounts", init, "mounts") \
  X(device, "device", init, "devices") \
  X(secret, "secret", init, "secrets") \
  X(mask, "mask", init, "masked_paths") \
  X(lock, "lock", init, "readonly_paths") \
  X(pivot, "pivot_root", init, "mounts") \
  X(verify_mounts, "verify_mounts", init, "mounts") \
  X(publish, "publish", init, "network.outbound.publish") \
  X(network_owner, "network_owner", init, "network.outbound") \
  X(network_rules, "network_rules", init, "network.outbound") \
  X(tun, "tun_device", init, "network.outbound") \
  X(pasta, "pasta", init, "network.outbound") \
  X(user_namespace, "unshare_user", init, "namespaces.user") \
  X(become_mapped, "become_mapped", init, "uid_map") \
  X(net_namespace, "unshare_net", init, "namespaces.net") \
  X(ipc_namespace, "unshare_ipc", init, "namespaces.ipc") \
  X(uts_namespace, "unshare_uts", init, "namespaces.uts") \
  X(loopback, "loopback", init, "network") \
  X(hostname, "sethostname", init, "hostname") \
  X(domainname, "setdomainname", init, "domainname") \
  X(sysctl, "sysctl", init, "sysctls") \
  X(time_namespace, "unshare_time", init, "namespaces.time") \
  X(time_offsets, "time_offsets", init, "time_offsets") \
  X(fork, "fork", init, "") \
  X(payload_cgroup, "payload_cgroup", payload, "cgroup") \
  X(cgroup_namespace, "unshare_cgroup", payload, "namespaces.cgroup") \
  X(unshare, "unshare", payload, "unshare") \
  X(setsid, "setsid", payload, "setsid") \
  X(setpgroup, "setpgid", payload, "setpgroup") \
  X(controlling_terminal, "controlling_terminal", payload, "terminal") \
  X(affinity, "sched_setaffinity", payload, "affinity") \
  X(nice, "setpriority", payload, "nice") \
  X(scheduler, "sched_setattr", payload, "scheduler") \
  X(ioprio, "ioprio_set", payload, "ioprio") \
  X(oom_score_adj, "oom_score_adj", payload, "oom_score_adj") \
  X(personality, "personality", payload, "personality") \
  X(timer_slack, "timer_slack", payload, "timer_slack_ns") \
  X(keyring, "keyring", payload, "keyring") \
  X(lsm_label, "lsm_label", payload, "") \
  X(setgroups, "setgroups", payload, "identity.groups") \
  X(setresgid, "setresgid", payload, "identity") \
  X(setresuid, "setresuid", payload, "identity") \
  X(resetids, "resetids", payload, "resetids") \
  X(verify_ids, "verify_ids", payload, "identity") \
  X(parent_death, "parent_death", payload, "") \
  X(cwd, "chdir", payload, "cwd") \
  X(umask, "umask", payload, "umask") \
  X(file_action, "file_action", payload, "file_actions") \
  X(pty, "pty", payload, "terminal") \
  X(landlock_rules, "landlock_rules", payload, "landlock") \
  X(rlimit, "setrlimit", payload, "rlimits") \
  X(ambient, "ambient", payload, "capabilities.ambient") \
  X(securebits, "securebits", payload, "capabilities.securebits") \
  X(capabilities, "capabilities", payload, "capabilities") \
  X(no_new_privs, "no_new_privs", payload, "no_new_privs") \
  X(landlock, "landlock", payload, "landlock") \
  X(signals, "signals", payload, "setsigdef") \
  X(seccomp, "seccomp", payload, "seccomp") \
  X(exec, "execve", payload, "executable")

enum class Step : uint32_t {
#define X(id, name, stage, field) id,
  CLOISTER_STEPS(X)
#undef X
      count_
};

struct StepInfo {
  const char* name;
  Stage stage;
  const char* field;
};

inline constexpr StepInfo kSteps[] = {
#define X(id, name, stage, field) {name, Stage::stage, field},
    CLOISTER_STEPS(X)
#undef X
};

static_assert(sizeof(kSteps) / sizeof(kSteps[0]) == static_cast<uint32_t>(Step::count_));

inline constexpr StepInfo describe(Step step) {
  const auto at = static_cast<uint32_t>(step);
  return at < static_cast<uint32_t>(Step::count_) ? kSteps[at] : kSteps[0];
}

inline constexpr const char* stage_name(Stage stage) {
  switch (stage) {
    case Stage::monitor: return "monitor";
    case Stage::init: return "init";
    case Stage::payload: return "payload";
    case Stage::none: break;
  }
  return "none";
}

}  // namespace cloister::plan
