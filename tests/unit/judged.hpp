// A Peer, a Plan and root's Policy made by hand, for authorise() itself: the
// second line of defence, tried without the front that refuses first.
//
// `Judged` is a request that the shipped policy grants. A row spoils one thing
// of it, and says what the judge calls that.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "decide/authorise.hpp"
#include "outcome.hpp"
#include "plan/builder.hpp"
#include "plan/refusal_text.hpp"

namespace cloister::test {

using namespace monitor;
using plan::Join;
using plan::MountKind;
using plan::Namespace;
using plan::RefusalKind;

inline constexpr uid_t kAlice = 1000, kBob = 1001;
inline constexpr gid_t kTeam = 77, kOutcasts = 78;

// The process of a caller: authorise() reads its niceness, OOM score and hard
// limits in /proc. It has what nobody has by chance.
class Caller {
 public:
  static constexpr int kNice = 5, kOom = 300;
  static constexpr uint64_t kFiles = 200;

  // 0 leaves RLIMIT_NICE and RLIMIT_RTPRIO as most callers have them; more is
  // root's to give.
  explicit Caller(uint64_t nice_limit = 0, uint64_t real_time_limit = 0) {
    int ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      bool done = ::setpriority(PRIO_PROCESS, 0, kNice) == 0;
      const rlimit files{kFiles, kFiles}, nice{nice_limit, nice_limit},
          real_time{real_time_limit, real_time_limit};
      done &= ::setrlimit(RLIMIT_NOFILE, &files) == 0 && ::setrlimit(RLIMIT_NICE, &nice) == 0 &&
              ::setrlimit(RLIMIT_RTPRIO, &real_time) == 0;
      std::FILE* score = std::fopen("/proc/self/oom_score_adj", "w");
      done &= score && std::fprintf(score, "%d", kOom) > 0 && std::fclose(score) == 0;
      const char word = done ? 'y' : 'n';
      if (::write(ready[1], &word, 1) == 1)
        for (;;) ::pause();
      ::_exit(1);
    }
    ::close(ready[1]);
    char word = 'n';
    const bool told = ::read(ready[0], &word, 1) == 1;
    ::close(ready[0]);
    REQUIRE((told && word == 'y'));
  }
  ~Caller() { end(); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void be(Peer& peer) const {
    peer.pid = pid_;
    peer.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }

 private:
  pid_t pid_ = -1;
};

inline const Caller& a_caller() {
  static const Caller caller;
  return caller;
}

struct Judged {
  Peer peer;
  Rule rule;
  Surroundings own;
  SubordinateIds subordinate;
  Leases leases;
  plan::Mode mode = plan::Mode::system;
  plan::Reason no_pasta = plan::Reason::none;
  plan::Reason no_disk = plan::Reason::none;
  int cgroup_version = 2;
  bool root = true;  // the service
  int landlock_abi = 7;
  FindJob joinable = [](const auto&, const Peer&) { return Joinable{}; };

  plan::Builder plan;
  std::vector<uint32_t> groups = {kAlice, kTeam, kOutcasts};
  std::vector<plan::Mount> mounts;
  std::vector<plan::IdMap> uid_map, gid_map;
  std::vector<plan::Descriptor> descriptors;
  std::vector<plan::Sysctl> sysctls;
  std::vector<plan::Action> actions;
  std::vector<plan::Published> published;
  std::vector<plan::Instruction> seccomp;

  // What is approved, and the block that it points into.
  std::optional<Approved> approved;
  std::string block;

  explicit Judged(const Caller& caller = a_caller()) {
    caller.be(peer);
    peer.uid = peer.gid = kAlice;
    peer.groups = groups;
    rule.name = "r";
    plan->identity = {kAlice, kAlice, kAlice, kAlice, kAlice, kAlice, {}, 0, 0};
    plan->nice = Caller::kNice;
    plan->oom_score_adj = Caller::kOom;
    plan->flags = plan::kNoNewPrivs;
    for (plan::Rlimit& limit : plan->rlimits) limit = {0, 0, 0, 0};
    fresh(Namespace::mnt).fresh(Namespace::pid).fresh(Namespace::ipc);
  }

  plan::NamespaceChoice& choice(Namespace which) {
    return plan->namespaces[static_cast<uint32_t>(which)];
  }
  Judged& join(Namespace which, Join how) {
    choice(which).join = how;
    if (how == Join::descriptor) {
      choice(which).descriptor = static_cast<uint32_t>(descriptors.size());
      descriptors.push_back({plan::Use::namespace_join, 0});
    }
    return *this;
  }
  Judged& fresh(Namespace which) { return join(which, Join::fresh); }
  Judged& unboxed() {
    for (plan::NamespaceChoice& each : plan->namespaces) each.join = Join::host;
    mounts.clear();
    return *this;
  }
  // Everything that a job of the same peer may lead to.
  Judged& jobs_have(uint32_t namespaces) {
    joinable = [=](const auto&, const Peer&) { return Joinable{1, 1, namespaces}; };
    return *this;
  }
  Judged& holds(int capability) {
    peer.permitted |= uint64_t{1} << capability;
    peer.bounding |= uint64_t{1} << capability;
    return *this;
  }
  plan::Mount& mount(MountKind kind, uint32_t flags = 0) {
    plan::Mount made{};
    made.kind = kind;
    made.flags = flags;
    made.at = plan.text("/m");
    made.source = made.data = plan.text("");
    if (kind == MountKind::bind) {
      made.descriptor = static_cast<uint32_t>(descriptors.size());
      descriptors.push_back({plan::Use::mount, 0});
    }
    mounts.push_back(made);
    return mounts.back();
  }
  void sysctl(const char* path) { sysctls.push_back({plan.text(path), plan.text("1")}); }

  const plan::Order& order() const { return approved->order(); }

  // `kind` none: it is approved.
  plan::Refusal decide() {
    const std::string name = "probe";
    plan->argv = plan.texts(std::span(&name, 1));
    plan->identity.groups = plan.span(groups);
    plan->mounts = plan.span(mounts);
    plan->uid_map = plan.span(uid_map);
    plan->gid_map = plan.span(gid_map);
    plan->descriptors = plan.span(descriptors);
    plan->sysctls = plan.span(sysctls);
    plan->actions = plan.span(actions);
    plan->published = plan.span(published);
    plan->seccomp = plan.span(seccomp);
    block = plan.finish();
    // A block that could not arrive would prove nothing.
    REQUIRE(plan::check(block.data(), block.size()) == plan::Flaw::none);
    Policy policy;
    policy.otherwise = std::make_shared<Rule>(rule);
    const Setting setting{
        policy,   mode,
        joinable, no_pasta,
        no_disk,  {&subordinate, mode == plan::Mode::system ? &leases : nullptr, true},
        own,      cgroup_version,
        root,     landlock_abi};
    Decision<Approved> decision = authorise(peer, plan::View(block.data()), setting);
    if (!decision) return decision.error();
    approved = *decision;
    return {};
  }
};

using Spoil = std::function<void(Judged&)>;

inline std::string told(const plan::Refusal& refusal) {
  return std::string(refusal.field) + " " + plan::rule_of(refusal) + " limit " +
         std::to_string(refusal.limit) + " requested " + std::to_string(refusal.requested);
}

inline void is_allowed(const char* what, const Spoil& spoil, const Caller& caller = a_caller()) {
  CAPTURE(std::string(what));
  Judged job(caller);
  spoil(job);
  const plan::Refusal refusal = job.decide();
  CAPTURE(told(refusal));
  CHECK(refusal.kind == RefusalKind::none);
}

inline void is_refused(const char* what, const Spoil& spoil, const std::string& field,
                       const std::string& rule, RefusalKind kind = RefusalKind::denied,
                       const Caller& caller = a_caller()) {
  CAPTURE(std::string(what));
  Judged job(caller);
  spoil(job);
  const plan::Refusal refusal = job.decide();
  CAPTURE(told(refusal));
  CHECK(refusal.kind == kind);
  CHECK(std::string(refusal.field) == field);
  CHECK(plan::rule_of(refusal) == rule);
  CHECK(std::string(refusal.policy) == "r");
}

// What is wrong in itself, whoever asks.
inline void is_invalid(const char* what, const Spoil& spoil, const std::string& field,
                       const std::string& rule) {
  is_refused(what, spoil, field, rule, RefusalKind::invalid);
}

}  // namespace cloister::test
