// Every step between the clone and the payload's first instruction, in the
// order the kernel wants (docs/architecture.md, "The order of a launch").
//
// Init reports a step by number; the front renders the rest of its row. One
// table, read by both; what to do about an error of a step is in hints.hpp.
#pragma once

#include <stdint.h>

namespace cloister::plan {

enum class Stage : uint32_t { none, monitor, init, payload };

// What the index of a failure counts.
enum class Element : uint32_t {
  none,
  action,      // of file_actions; kNone: stdin, stdout or stderr
  executable,  // no index: there is one
  cwd,         // likewise
  mount,
  map,     // 0: newuidmap(1), 1: newgidmap(1)
  joined,  // plan::Namespace
  path,    // of landlock.paths
  capability,
  rlimit,
  port,  // of network.outbound.publish
  sysctl,
};

// Which Plans take the step, as a dry run tells it (daemon/front/dry_run.cpp).
enum class When : uint32_t {
  always,
  never,  // it is no step of its own, or the monitor alone knows
  descriptors,
  joins,
  mounts,
  disk,
  mnt,  // this and the next: the namespace is a new one
  net,
  ipc,
  uts,
  cgroup,
  user,
  time,
  time_offsets,
  outbound,
  published,
  loopback,
  hostname,
  domainname,
  sysctls,
  unshare,
  setsid,
  resetids,
  controlling_terminal,
  pty,
  actions,
  ioprio,
  landlock,
  ambient,
  no_new_privs,
  seccomp,
};

// Whose fault a failure is.
enum class Blame : uint32_t {
  kernel,  // the errno tells
  cloister,
  request,
  host,
};

// X(enumerator, "name", stage, "request field", element, when, blame, "what it does")
// The field of a step that applies one number is in the row of that number, plan.hpp.
#define CLOISTER_STEPS(X) \
  X(none, "none", none, "", none, never, cloister, "an unknown step failed") \
  X(record, "record", monitor, "", none, always, kernel, "making the record of the job") \
  X(cgroup, "cgroup", monitor, "cgroup", none, always, kernel, "placing the job in its cgroup") \
  X(clone, "clone", monitor, "namespaces", none, always, kernel, "creating the sandbox") \
  X(id_map, "id_map", monitor, "uid_map", map, user, kernel, "writing the id maps") \
  X(setup_timeout, "setup_timeout", monitor, "lifetime.setup_timeout", none, never, request, \
    "setting up the sandbox took too long") \
  X(scratch_store, "scratch_store", monitor, "mounts", none, disk, kernel, \
    "making a scratch directory on disk") \
  X(capture, "capture", monitor, "stdout", none, never, kernel, "capturing output") \
  X(start, "start", init, "", none, never, cloister, "starting cloister-init") \
  X(plan, "plan", init, "", none, always, cloister, "reading the plan") \
  X(descriptors, "descriptors", init, "", none, descriptors, kernel, \
    "receiving the passed descriptors") \
  X(facts, "facts", init, "", none, descriptors, kernel, "examining the passed descriptors") \
  X(loginuid, "loginuid", init, "", none, never, kernel, "setting the login uid") \
  X(join, "setns", init, "namespaces", joined, joins, kernel, "joining a namespace") \
  X(sources, "open_tree", init, "mounts", mount, mounts, kernel, "opening a mount source") \
  X(scratch, "scratch", init, "mounts", mount, disk, kernel, "making a scratch directory on disk") \
  X(mount_namespace, "unshare_mnt", init, "namespaces.mnt", none, mnt, kernel, \
    "making the mount namespace") \
  X(idmap, "idmap", init, "mounts", mount, always, kernel, \
    "showing the files of a mount as owned by other ids") \
  X(overlay, "overlay", init, "mounts", mount, always, kernel, "making an overlay") \
  X(content, "content", init, "mounts", mount, always, kernel, "making a file") \
  X(mounts, "mounts", init, "mounts", mount, mounts, kernel, "mounting the file systems") \
  X(device, "device", init, "devices", mount, always, kernel, "binding a device") \
  X(secret, "secret", init, "secrets", mount, always, kernel, "writing a secret") \
  X(mask, "mask", init, "masked_paths", mount, always, kernel, "masking a path") \
  X(lock, "lock", init, "readonly_paths", mount, always, kernel, "making a path read-only") \
  X(pivot, "pivot_root", init, "mounts", none, mounts, kernel, "changing the root directory") \
  X(verify_mounts, "verify_mounts", init, "mounts", mount, always, kernel, \
    "the mounts read back differ from those that were made") \
  X(publish, "publish", init, "network.outbound.publish", port, published, kernel, \
    "binding a port of the host") \
  X(network_owner, "network_owner", init, "network.outbound", none, outbound, kernel, \
    "making the user namespace that owns the network") \
  X(network_rules, "network_rules", init, "network.outbound", none, outbound, host, \
    "blocking the metadata services of clouds") \
  X(tun, "tun_device", init, "network.outbound", none, outbound, host, \
    "opening /dev/net/tun for pasta") \
  X(pasta, "pasta", init, "network.outbound", none, outbound, host, \
    "pasta(1), which connects the job's network, has ended") \
  X(user_namespace, "unshare_user", init, "namespaces.user", none, user, kernel, \
    "making the user namespace") \
  X(become_mapped, "become_mapped", init, "uid_map", none, user, kernel, \
    "changing to a mapped id") \
  X(net_namespace, "unshare_net", init, "namespaces.net", none, net, kernel, \
    "making the network namespace") \
  X(ipc_namespace, "unshare_ipc", init, "namespaces.ipc", none, ipc, kernel, \
    "making the IPC namespace") \
  X(uts_namespace, "unshare_uts", init, "namespaces.uts", none, uts, kernel, \
    "making the UTS namespace") \
  X(loopback, "loopback", init, "network", none, loopback, kernel, \
    "bringing up the loopback interface") \
  X(hostname, "sethostname", init, "hostname", none, hostname, kernel, "setting the host name") \
  X(domainname, "setdomainname", init, "domainname", none, domainname, kernel, \
    "setting the domain name") \
  X(sysctl, "sysctl", init, "sysctls", sysctl, sysctls, kernel, "setting a sysctl") \
  X(time_namespace, "unshare_time", init, "namespaces.time", none, time, kernel, \
    "making the time namespace") \
  X(time_offsets, "time_offsets", init, "time_offsets", none, time_offsets, kernel, \
    "setting the clock offsets") \
  X(fork, "fork", init, "", none, always, kernel, "forking the payload") \
  X(payload_cgroup, "payload_cgroup", payload, "cgroup", none, always, kernel, \
    "placing the job in its cgroup") \
  X(cgroup_namespace, "unshare_cgroup", payload, "namespaces.cgroup", none, cgroup, kernel, \
    "making the cgroup namespace") \
  X(unshare, "unshare", payload, "", none, unshare, kernel, \
    "unsharing what the field unshare names") \
  X(setsid, "setsid", payload, "setsid", none, setsid, kernel, "making a session") \
  X(setpgroup, "setpgid", payload, "", none, always, kernel, "setting the process group") \
  X(controlling_terminal, "controlling_terminal", payload, "terminal", none, controlling_terminal, \
    kernel, "taking the controlling terminal") \
  X(affinity, "sched_setaffinity", payload, "affinity", none, always, kernel, \
    "setting the processor affinity") \
  X(nice, "setpriority", payload, "", none, always, kernel, "setting the nice value") \
  X(scheduler, "sched_setattr", payload, "scheduler", none, always, kernel, \
    "setting the scheduling policy") \
  X(ioprio, "ioprio_set", payload, "ioprio", none, ioprio, kernel, "setting the I/O priority") \
  X(oom_score_adj, "oom_score_adj", payload, "", none, always, kernel, "setting oom_score_adj") \
  X(personality, "personality", payload, "", none, always, kernel, "setting the personality") \
  X(timer_slack, "timer_slack", payload, "", none, always, kernel, "setting the timer slack") \
  X(keyring, "keyring", payload, "keyring", none, always, kernel, "making a session keyring") \
  X(lsm_label, "lsm_label", payload, "", none, never, kernel, \
    "setting the caller's security label") \
  X(setgroups, "setgroups", payload, "identity.groups", none, always, kernel, \
    "setting the supplementary groups") \
  X(setresgid, "setresgid", payload, "identity", none, always, kernel, "setting the group ids") \
  X(setresuid, "setresuid", payload, "identity", none, always, kernel, "setting the user ids") \
  X(resetids, "resetids", payload, "resetids", none, resetids, kernel, \
    "resetting the effective ids") \
  X(verify_ids, "verify_ids", payload, "identity", none, always, cloister, \
    "the ids read back differ from those set") \
  X(parent_death, "parent_death", payload, "", none, always, kernel, \
    "setting the parent-death signal") \
  X(cwd, "chdir", payload, "cwd", cwd, always, kernel, "changing to the working directory") \
  X(umask, "umask", payload, "", none, always, kernel, "setting the umask") \
  X(file_action, "file_action", payload, "file_actions", action, actions, kernel, \
    "a file action failed") \
  X(pty, "pty", payload, "terminal", none, pty, kernel, "making the terminal") \
  X(landlock_rules, "landlock_rules", payload, "landlock", path, landlock, kernel, \
    "making the Landlock rules") \
  X(rlimit, "setrlimit", payload, "rlimits", rlimit, always, kernel, "setting a resource limit") \
  X(ambient, "ambient", payload, "capabilities.ambient", capability, ambient, kernel, \
    "raising the ambient capabilities") \
  X(securebits, "securebits", payload, "capabilities.securebits", none, always, kernel, \
    "setting the securebits") \
  X(capabilities, "capabilities", payload, "capabilities", capability, always, kernel, \
    "setting the capabilities") \
  X(no_new_privs, "no_new_privs", payload, "no_new_privs", none, no_new_privs, kernel, \
    "setting no_new_privs") \
  X(landlock, "landlock", payload, "landlock", none, landlock, kernel, \
    "entering the Landlock domain") \
  X(signals, "signals", payload, "setsigdef", none, always, kernel, \
    "setting the signal dispositions") \
  X(seccomp, "seccomp", payload, "seccomp", none, seccomp, kernel, \
    "loading the system call filter") \
  X(exec, "execve", payload, "executable", executable, always, kernel, "executing the program")

enum class Step : uint32_t {
#define X(id, name, stage, field, element, when, blame, doing) id,
  CLOISTER_STEPS(X)
#undef X
      count_
};

struct StepInfo {
  const char* name;
  Stage stage;
  const char* field;  // field_of(), plan.hpp, has the others
  Element element;
  When when;
  Blame blame;
  const char* doing;  // "mounting the file systems", or what has gone wrong
};

inline constexpr StepInfo kSteps[] = {
#define X(id, name, stage, field, element, when, blame, doing) \
  {name, Stage::stage, field, Element::element, When::when, Blame::blame, doing},
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
