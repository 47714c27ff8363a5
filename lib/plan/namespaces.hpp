// The namespaces, in the order of plan::Namespace: what each is called, by the
// request, by the kernel and by a failure. Read by all programs.
#pragma once

#include <linux/sched.h>
#include <stdint.h>

#include "plan.hpp"
#include "steps.hpp"

namespace cloister::plan {

// X(enumerator, flag of clone(2), step that makes it, file of /proc/PID/ns that
// says what children of the process get)
#define CLOISTER_NAMESPACES(X) \
  X(mnt, CLONE_NEWNS, mount_namespace, "mnt") \
  X(pid, CLONE_NEWPID, clone, "pid_for_children") \
  X(net, CLONE_NEWNET, net_namespace, "net") \
  X(ipc, CLONE_NEWIPC, ipc_namespace, "ipc") \
  X(uts, CLONE_NEWUTS, uts_namespace, "uts") \
  X(cgroup, CLONE_NEWCGROUP, cgroup_namespace, "cgroup") \
  X(user, CLONE_NEWUSER, user_namespace, "user") \
  X(time, CLONE_NEWTIME, time_namespace, "time_for_children")

struct NamespaceInfo {
  Namespace id;
  const char* word;   // "mnt", also the file of /proc/PID/ns
  const char* field;  // "namespaces.mnt"
  uint32_t flag;
  Step step;
  const char* for_children;
};

inline constexpr NamespaceInfo kNamespaceTable[] = {
#define X(id, flag, step, for_children) \
  {Namespace::id, #id, "namespaces." #id, flag, Step::step, for_children},
    CLOISTER_NAMESPACES(X)
#undef X
};
static_assert(sizeof kNamespaceTable / sizeof kNamespaceTable[0] == kNamespaces);
static_assert([] {
  for (uint32_t i = 0; i < kNamespaces; ++i)
    if (static_cast<uint32_t>(kNamespaceTable[i].id) != i) return false;
  return true;
}());

inline constexpr const char* kNamespaceWords[] = {
#define X(id, flag, step, for_children) #id,
    CLOISTER_NAMESPACES(X)
#undef X
};

inline constexpr const NamespaceInfo& describe(Namespace which) {
  return kNamespaceTable[static_cast<uint32_t>(which)];
}

}  // namespace cloister::plan
