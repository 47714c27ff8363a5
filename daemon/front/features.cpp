#include "features.hpp"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

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

// Each of /proc/self/ns is a namespace type that this kernel has.
json namespaces(const Caller& caller) {
  json types = json::object();
  for (const char* name : {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"}) {
    const bool there = ::access((std::string("/proc/self/ns/") + name).c_str(), F_OK) == 0;
    types[name] = there ? "available" : "absent";
  }
  // user_namespaces(7): none may be made where the limit is 0.
  std::ifstream limit("/proc/sys/user/max_user_namespaces");
  std::ifstream debian("/proc/sys/kernel/unprivileged_userns_clone");
  long most = -1, allowed = 1;
  limit >> most;
  debian >> allowed;
  if (most == 0 || (caller.mode != plan::Mode::system && caller.uid != 0 && debian && allowed == 0))
    types["user"] = "restricted";
  return types;
}

}  // namespace

json features(const plan::Host& host, const Caller& caller, const Profiles& profiles) {
  json result;
  result["profiles"] = json::array();
  for (const auto& [name, file, base, problem] :
       profiles.list([&] { return caller.own_profiles(); }))
    result["profiles"].push_back({{"name", name},
                                  {"file", file},
                                  {"base", base.empty() ? json() : json(base)},
                                  {"problem", problem.empty() ? json() : json(problem)}});
  result["namespaces"] = namespaces(caller);
  result["scheduler_priorities"] = priorities();
  result["processors"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  double load[3];
  if (::getloadavg(load, 3) == 3) result["loadavg"] = {load[0], load[1], load[2]};
  result["policy"] = host.policy;
  result["cgroup"] = host.cgroup_version ? "available" : "absent";
  result["not_yet"] = {"limits", "captured output"};
  return result;
}

}  // namespace cloister::front
