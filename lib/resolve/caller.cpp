#include "resolve/caller.hpp"

#include <fcntl.h>
#include <fnmatch.h>
#include <pwd.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <sstream>

#include "plan/plan.hpp"
#include "request/words.hpp"
#include "sys/landlock.hpp"
#include "sys/names.hpp"
#include "sys/programs.hpp"
#include "sys/root.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {
namespace {

constexpr const char* kEnvPass = "env_pass";

Problem unreadable(const std::string& field, int error) {
  return {Problem::Kind::failed,
          field,
          "cannot be read from the caller's process; set it in the request",
          "",
          sys::errno_name(error),
          error};
}

std::string proc_path(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + '/' + file;
}

request::Result<std::string> read_file(const std::string& field, const std::string& path) {
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return unreadable(field, errno);
  std::string text;
  char chunk[8192];
  for (;;) {
    const ssize_t got = ::read(fd.borrow(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(field, errno);
    if (got == 0) return text;
    text.append(chunk, static_cast<size_t>(got));
  }
}

request::Result<uint32_t> read_umask(pid_t pid) {
  const auto status = read_file("umask", proc_path(pid, "status"));
  if (!status) return status.error();
  constexpr std::string_view kLabel = "\nUmask:\t";  // Linux 4.7
  const size_t at = status->find(kLabel);
  uint32_t umask = 0;
  if (at == std::string::npos || std::from_chars(status->data() + at + kLabel.size(),
                                                 status->data() + status->size(), umask, 8)
                                         .ec != std::errc())
    return unreadable("umask", ENODATA);
  return umask;
}

request::Result<int32_t> read_oom_score_adj(pid_t pid) {
  const auto text = read_file("oom_score_adj", proc_path(pid, "oom_score_adj"));
  if (!text) return text.error();
  int32_t score = 0;
  if (std::from_chars(text->data(), text->data() + text->size(), score).ec != std::errc())
    return unreadable("oom_score_adj", ENODATA);
  return score;
}

// procfs follows this link only for who may trace the caller. The front of a
// caller with capabilities may not; then the working directory is the constant
// one, as `origins` shows.
request::Result<std::optional<PathOrFd>> read_cwd(pid_t pid) {
  char path[plan::kMaxPath];
  const ssize_t size = ::readlink(proc_path(pid, "cwd").c_str(), path, sizeof path);
  if (size < 0 && (errno == EACCES || errno == EPERM)) return std::optional<PathOrFd>();
  if (size < 0) return unreadable("cwd", errno);
  std::string cwd(path, static_cast<size_t>(size));
  if (cwd[0] != '/' || cwd.ends_with(" (deleted)")) return unreadable("cwd", ENOENT);
  return std::optional<PathOrFd>(std::move(cwd));
}

request::Result<std::vector<uint32_t>> read_affinity(pid_t pid) {
  cpu_set_t set;
  if (::sched_getaffinity(pid, sizeof set, &set) != 0) return unreadable("affinity", errno);
  std::vector<uint32_t> cpus;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

// Those that `given` does not have.
request::Result<std::map<std::string, Rlimit>> read_rlimits(
    pid_t pid, const std::map<std::string, Rlimit>& given) {
  std::map<std::string, Rlimit> limits;
  for (const request::Word& word : request::rlimits()) {
    if (given.contains(word.name)) continue;
    rlimit limit{};
    const auto resource = static_cast<__rlimit_resource>(word.value);
    if (::prlimit(pid, resource, nullptr, &limit) != 0) return unreadable("rlimits", errno);
    limits[word.name] = {limit.rlim_cur, limit.rlim_max};
  }
  return limits;
}

// Only the policies that have no parameters but nice: a caller's real-time
// policy is not handed on unasked.
std::optional<Scheduler> read_scheduler(pid_t pid) {
  const int policy = ::sched_getscheduler(pid);
  if (policy != SCHED_BATCH && policy != SCHED_IDLE) return std::nullopt;
  Scheduler scheduler;
  scheduler.policy = policy;
  return scheduler;
}

// What `request` leaves open: a client that says all costs no look at it.
request::Result<Request> read_caller(const Caller& caller, const Request& request) {
  Request own;
  own.no_new_privs = caller.no_new_privs;
  if (!request.umask) {
    const auto umask = read_umask(caller.pid);
    if (!umask) return umask.error();
    own.umask = *umask;
  }
  if (!request.cwd) {
    auto cwd = read_cwd(caller.pid);
    if (!cwd) return cwd.error();
    own.cwd = *std::move(cwd);
  }
  if (!request.affinity) {
    auto affinity = read_affinity(caller.pid);
    if (!affinity) return affinity.error();
    own.affinity = *std::move(affinity);
  }
  if (!request.oom_score_adj) {
    const auto score = read_oom_score_adj(caller.pid);
    if (!score) return score.error();
    own.oom_score_adj = *score;
  }
  auto limits = read_rlimits(caller.pid, request.rlimits);
  if (!limits) return limits.error();
  own.rlimits = *std::move(limits);
  if (!request.nice) {
    errno = 0;  // -1 is a priority too, getpriority(2)
    own.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(caller.pid));
    if (errno != 0) return unreadable("nice", errno);
  }
  if (!request.scheduler) own.scheduler = read_scheduler(caller.pid);
  return own;
}

request::Result<Request> read_passed_env(const std::vector<std::string>& globs,
                                         const Caller& caller) {
  Request passed;
  const auto environment = read_file(kEnvPass, proc_path(caller.pid, "environ"));
  if (!environment) return environment.error();
  std::istringstream entries(*environment);
  for (std::string entry; std::getline(entries, entry, '\0');) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    const std::string name = entry.substr(0, equals);
    const bool passes = std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
      return ::fnmatch(glob.c_str(), name.c_str(), 0) == 0;
    });
    if (passes && request::is_utf8(name)) passed.env[name] = entry.substr(equals + 1);
  }
  return passed;
}

// As merge() has it for all fields: what may be given up in a layer is said
// there or above it.
bool may_lack_passed_env(const std::vector<request::Layer>& profiles, const Request& request) {
  const auto says = [](const Request& layer) {
    const auto& fields = layer.best_effort;
    return std::find(fields.begin(), fields.end(), kEnvPass) != fields.end();
  };
  if (says(request)) return true;
  for (size_t i = profiles.size(); i-- > 0;) {
    if (says(profiles[i].request)) return true;
    if (!profiles[i].request.env_pass.empty()) return false;
  }
  return false;
}

}  // namespace

const std::string& Caller::home() const {
  if (!known_home) {
    const passwd* entry = ::getpwuid(uid);
    known_home = entry ? entry->pw_dir : "";
  }
  return *known_home;
}

// Of the caller's process. The environment of a caller with more power than we
// have (root) cannot be read.
static std::string variable_of(pid_t pid, std::string_view name) {
  std::string value;
  if (const auto environment = read_file("profile", proc_path(pid, "environ"))) {
    std::istringstream entries(*environment);
    for (std::string entry; std::getline(entries, entry, '\0');)
      if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=')
        value = entry.substr(name.size() + 1);
  }
  return value;
}

const std::string& Caller::home_of_process() const {
  if (!known_home_of_process) known_home_of_process = variable_of(pid, "HOME");
  return *known_home_of_process;
}

std::string Caller::own_profiles() const {
  std::string config = variable_of(pid, "XDG_CONFIG_HOME");
  if (!config.starts_with('/')) config = home().empty() ? "" : home() + "/.config";
  return config.empty() ? config : config + "/cloister/profiles";
}

std::optional<Problem> read_ignored(const Caller& caller, uint64_t& ignored) {
  const auto status = read_file("setsigdef", proc_path(caller.pid, "status"));
  if (!status) return status.error();
  constexpr std::string_view kLabel = "\nSigIgn:\t";
  const size_t at = status->find(kLabel);
  if (at == std::string::npos || std::from_chars(status->data() + at + kLabel.size(),
                                                 status->data() + status->size(), ignored, 16)
                                         .ec != std::errc())
    return unreadable("setsigdef", ENODATA);
  return std::nullopt;
}

Caller make_caller(const plan::Peer& peer, std::vector<uint32_t> groups) {
  Caller caller;
  caller.uid = peer.uid;
  caller.gid = peer.gid;
  caller.groups = std::move(groups);
  caller.pid = peer.pid;
  caller.no_new_privs = peer.no_new_privs != 0;
  caller.mode = static_cast<plan::Mode>(peer.mode);
  caller.ids = peer.ids;
  caller.limits = peer.limits;
  return caller;
}

request::Lacks lacks_of(const Caller& caller, const std::vector<request::Layer>& layers) {
  request::Lacks lacks;
  bool dynamic = false, uids = false, gids = false;
  for (const request::Layer& layer : layers) {
    const auto& identity = layer.request.identity;
    dynamic |= identity && std::holds_alternative<DynamicIdentity>(*identity);
    uids |= is_subordinate(layer.request.uid_map);
    gids |= is_subordinate(layer.request.gid_map);
  }
  const auto limit = [&](uint32_t there, std::string& why, const char* controller) {
    if (caller.limits & there) return;
    why = controller ? std::string("the service has no ") + controller +
                           " controller below its cgroup; see LIMITS in cloister(1)"
                     : "the service can make no cgroup v2, in which it is counted; see LIMITS in "
                       "cloister(1)";
  };
  limit(plan::kMemoryThere, lacks.memory, "memory");
  limit(plan::kSwapThere, lacks.swap, "memory");
  if (caller.limits & plan::kMemoryThere && !(caller.limits & plan::kSwapThere))
    lacks.swap = "the kernel does not count swap (v1 does with swapaccount=1 at boot)";
  limit(plan::kPidsThere, lacks.pids, "pids");
  limit(plan::kCpusThere, lacks.cpus, "cpu");
  limit(plan::kCpuTimeThere, lacks.cpu_time, nullptr);
  const bool of_root = caller.mode == plan::Mode::system;
  const std::string no_lease =
      sys::landlock_abi() < 2 ? "leased ids need Landlock ABI 2 (Linux 5.19), which this kernel "
                                "lacks or has switched off (lsm= at boot)"
                              : "no ids are set aside to be leased, see lease in cloisterd.json(5)";
  if (dynamic && !(caller.ids & plan::kLeasedIds))
    lacks.leased_ids = of_root ? no_lease : "only the system service has ids that it can lease";
  const bool rootless = !of_root && !sys::is_root();
  const auto subordinate = [&](uint32_t own, const char* file, const char* option,
                               const char* program) -> std::string {
    if (caller.ids & plan::kLeasedBlocks) return {};
    if (!(caller.ids & own)) {
      const passwd* entry = ::getpwuid(caller.uid);
      const std::string name = entry ? entry->pw_name : std::to_string(caller.uid);
      return std::string(file) + " had no entry for " + name + " when the service read it" +
             (of_root ? ", and " + no_lease : "") + "; see " + option +
             " of usermod(8), and reload the service";
    }
    if (rootless && !sys::open_program(program))
      return std::string(program) +
             "(1) is missing, without which a user maps no id but its own (Debian: uidmap)";
    return {};
  };
  if (uids)
    lacks.subordinate_uids =
        subordinate(plan::kSubuids, "/etc/subuid", "--add-subuids", "newuidmap");
  if (gids)
    lacks.subordinate_gids =
        subordinate(plan::kSubgids, "/etc/subgid", "--add-subgids", "newgidmap");
  return lacks;
}

request::Result<request::Effective> complete(const Request& request, const Profiles& profiles,
                                             const Caller& caller) {
  auto layers = profiles.layers(request.profile.value_or(*request::constants().profile),
                                [&] { return caller.own_profiles(); });
  if (!layers) return layers.error();
  std::optional<Defaults> defaults;
  std::vector<std::string> globs;
  for (const request::Layer& layer : *layers) {
    if (layer.request.defaults) defaults = layer.request.defaults;
    globs.insert(globs.end(), layer.request.env_pass.begin(), layer.request.env_pass.end());
  }
  Request said = request;
  auto implied = request::take_implied(said);
  if (!implied) return implied.error();
  layers->insert(layers->begin(), {*std::move(implied), request::kFromCaller});
  if (defaults == Defaults::caller) {
    auto own = read_caller(caller, request);
    if (!own) return own.error();
    layers->insert(layers->begin(), {*std::move(own), request::kFromCaller});
  }
  const bool optional = may_lack_passed_env(*layers, request);
  bool lacks_env = false;
  if (!globs.empty()) {
    auto passed = read_passed_env(globs, caller);
    lacks_env = !passed;
    if (lacks_env && !optional) return passed.error();
    if (passed) layers->push_back({*std::move(passed), request::kFromCaller});
  }
  layers->push_back({std::move(said), request::kFromRequest});
  auto effective = request::merge(*layers, lacks_of(caller, *layers));
  if (effective && lacks_env) {
    effective->degraded.insert(
        std::lower_bound(effective->degraded.begin(), effective->degraded.end(), kEnvPass),
        kEnvPass);
    effective->degraded_from.emplace(kEnvPass, request::kFromCaller);
  }
  return effective;
}

}  // namespace cloister::front
