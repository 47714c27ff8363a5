#include "features.hpp"
#include "sys/root.hpp"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "plan/namespaces.hpp"
#include "sys/landlock.hpp"

namespace cloister::front {

using nlohmann::json;

namespace {

json priorities() {
  json ranges = json::object();
  for (const auto& [name, policy] :
       {std::pair{"SCHED_OTHER", SCHED_OTHER}, std::pair{"SCHED_BATCH", SCHED_BATCH},
        std::pair{"SCHED_IDLE", SCHED_IDLE}, std::pair{"SCHED_FIFO", SCHED_FIFO},
        std::pair{"SCHED_RR", SCHED_RR}})
    ranges[name] = {{"min", ::sched_get_priority_min(policy)},
                    {"max", ::sched_get_priority_max(policy)}};
  return ranges;
}

json profiles_of(const Profiles& profiles, const Caller& caller) {
  json list = json::array();
  const auto text = [](const std::string& value) { return value.empty() ? json() : json(value); };
  for (const auto& [name, file, base, problem] :
       profiles.list([&] { return caller.own_profiles(); }))
    list.push_back(
        {{"name", name}, {"file", file}, {"base", text(base)}, {"problem", text(problem)}});
  return list;
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool has_word(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string each; file >> each;)
    if (each == word) return true;
  return false;
}

// One feature each: available, restricted (there, and not for this caller or by
// this host's settings) or absent, and what is to be known about it.
class Features {
 public:
  Features(const plan::Host& host, const Caller& caller) : host_(host), caller_(caller) {
    user_namespaces();
    for (const plan::NamespaceInfo& kind : plan::kNamespaceTable)
      if (kind.id != plan::Namespace::user) a_namespace(kind.word);
    ids();
    filters();
    files();
    attributes();
  }

  json take() { return std::move(features_); }

 private:
  static constexpr const char *kAvailable = "available", *kRestricted = "restricted",
                              *kAbsent = "absent";

  void add(const std::string& name, const char* state, const std::string& why = {}) {
    features_[name] = {{"state", state}, {"detail", why.empty() ? json() : json(why)}};
  }

  // Powers over the host's user namespace: root's service has them.
  bool rootless() const { return caller_.mode != plan::Mode::system && !sys::is_root(); }

  void user_namespaces() {
    const auto because = [&](const char* state, const std::string& why) {
      no_user_namespaces_ = why;
      add("namespaces.user", state, why);
    };
    if (::access("/proc/self/ns/user", F_OK) != 0)
      return because(kAbsent, "the kernel was built without CONFIG_USER_NS");
    if (first_line("/proc/sys/user/max_user_namespaces") == "0")
      return because(kRestricted, "the sysctl user.max_user_namespaces is 0");
    if (rootless() && first_line("/proc/sys/kernel/unprivileged_userns_clone") == "0")
      return because(kRestricted, "the sysctl kernel.unprivileged_userns_clone is 0");
    if (rootless() && first_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
      return because(kRestricted, "the sysctl kernel.apparmor_restrict_unprivileged_userns is 1");
    add("namespaces.user", kAvailable);
  }

  void a_namespace(const std::string& name) {
    const std::string field = "namespaces." + name;
    if (::access(("/proc/self/ns/" + name).c_str(), F_OK) != 0)
      return add(field, kAbsent, "this kernel has no namespaces of this type");
    const std::string limit = "user.max_" + name + "_namespaces";
    if (first_line(("/proc/sys/user/max_" + name + "_namespaces").c_str()) == "0")
      return add(field, kRestricted, "the sysctl " + limit + " is 0");
    if (rootless() && !no_user_namespaces_.empty())
      return add(field, kRestricted, "needs a user namespace: " + no_user_namespaces_);
    add(field, kAvailable);
  }

  void ids() {
    request::Layer all;
    all.request.identity = DynamicIdentity{};
    all.request.uid_map = all.request.gid_map = SubordinateIds{};
    const request::Lacks lacks = lacks_of(caller_, {all});
    const auto either = [&](const char* name, const std::string& why) {
      add(name, why.empty() ? kAvailable : kRestricted, why);
    };
    add("limits.wall_time", kAvailable);
    either("limits.memory", lacks.memory);
    either("limits.swap", lacks.swap);
    either("limits.pids", lacks.pids);
    either("limits.cpus", lacks.cpus);
    either("limits.cpu_time", lacks.cpu_time);
    either("identity.dynamic", lacks.leased_ids);
    either("uid_map.subordinate", lacks.subordinate_uids);
    either("gid_map.subordinate", lacks.subordinate_gids);
  }

  void filters() {
    const std::string actions = "/proc/sys/kernel/seccomp/actions_avail";
    if (has_word(actions, "errno") && has_word(actions, "kill_process"))
      add("seccomp", kAvailable);
    else
      add("seccomp", kAbsent, "the kernel has no seccomp filters with errno and kill_process");

    const int abi = sys::landlock_abi();
    if (abi > 0)
      add("landlock", kAvailable, "ABI " + std::to_string(abi));
    else
      add("landlock", kAbsent, "the kernel has no Landlock, or the boot options switch it off");
    if (abi >= 4)
      add("landlock.connect_tcp", kAvailable);
    else
      add("landlock.connect_tcp", kAbsent, "ports need Landlock ABI 4, Linux 6.7");
    if (abi >= 6)
      add("landlock.scopes", kAvailable);
    else
      add("landlock.scopes", kAbsent,
          "scopes need Landlock ABI 6, Linux 6.12; without them a job in the host's network "
          "reaches "
          "its abstract sockets, and one in the host's pid namespace signals its user's processes");
  }

  void files() {
    if (!has_word("/proc/filesystems", "overlay"))
      add("mounts.overlay", kAbsent, "/proc/filesystems has no overlay; a module may bring it");
    else if (rootless() && !no_user_namespaces_.empty())
      add("mounts.overlay", kRestricted, "needs a user namespace: " + no_user_namespaces_);
    else
      add("mounts.overlay", kAvailable);
    if (rootless())
      add("mounts.idmap", kRestricted, "needs privilege over the file system's user namespace");
    else
      add("mounts.idmap", kAvailable);
    if (host_.features & plan::kDiskThere)
      add("mounts.scratch.disk", kAvailable);
    else
      add("mounts.scratch.disk", kRestricted,
          "the service's scratch directory cannot be made, or is in memory");
    if (has_word("/proc/filesystems", "mqueue"))
      add("mounts.mqueue", kAvailable);
    else
      add("mounts.mqueue", kAbsent, "the kernel was built without CONFIG_POSIX_MQUEUE");
  }

  void attributes() {
    // Pasta runs as the caller, and so do we.
    if (!(host_.features & plan::kPastaThere))
      add("network.outbound", kAbsent, "the service has no pasta(1) that it trusts");
    else if (::access("/dev/net/tun", R_OK | W_OK) != 0)
      add("network.outbound", kRestricted, "the caller may not open /dev/net/tun");
    else
      add("network.outbound", kAvailable, "by pasta(1)");
    if (caller_.uid == 0)
      add("scheduler.real_time", kAvailable);
    else
      add("scheduler.real_time", kRestricted,
          "needs CAP_SYS_NICE, a sufficient RLIMIT_RTPRIO, or a rule of the administrator");
    if (::access("/proc/key-users", F_OK) == 0)
      add("keyring", kAvailable);
    else
      add("keyring", kAbsent, "the kernel was built without CONFIG_KEYS: nothing is kept there");
    add("stdout.capture", kAvailable);
  }

  const plan::Host& host_;
  const Caller& caller_;
  std::string no_user_namespaces_;
  json features_ = json::object();
};

}  // namespace

json features(const plan::Host& host, const Caller& caller, const Profiles& profiles) {
  json result;
  result["host"] = Features(host, caller).take();
  result["profiles"] = profiles_of(profiles, caller);
  result["scheduler_priorities"] = priorities();
  result["processors"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  double load[3];
  if (::getloadavg(load, 3) == 3) result["loadavg"] = {load[0], load[1], load[2]};
  result["policy"] = host.policy;
  return result;
}

}  // namespace cloister::front
