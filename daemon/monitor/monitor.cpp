#include "monitor.hpp"
#include "sys/root.hpp"

#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

#include "decide/refusal.hpp"

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;
using plan::RefusalKind;

// /proc/sys/kernel/overflowuid, whose default nobody changes, user_namespaces(7).
constexpr uid_t kOverflowUid = 65534;

// For a plain process, and for PID 1 of a box. Who is alone does not start more
// than is needed.
static std::vector<Birth> spare_births(plan::Mode mode) {
  if (mode == plan::Mode::private_) return {};
  if (mode == plan::Mode::system || sys::is_root()) return {{}, {.namespaces = CLONE_NEWPID}};
  return {{}, {.namespaces = CLONE_NEWUSER | CLONE_NEWPID, .ambient = true}};
}

// All ids that files of a user's jobs can have, each as itself.
static IdMaps own_ids(const SubordinateIds& subordinate) {
  IdMaps ids{{{::geteuid(), ::geteuid(), 1}}, {{::getegid(), ::getegid(), 1}}};
  for (const IdSpan& span : subordinate.uids.of(::geteuid()))
    ids.uids.push_back({span.first, span.first, span.count});
  for (const IdSpan& span : subordinate.gids.of(::geteuid()))
    ids.gids.push_back({span.first, span.first, span.count});
  return ids;
}

Monitor::Monitor(boost::asio::io_context& io, Config config, plan::Mode mode, Programs programs,
                 sys::UniqueFd records, std::string journal)
    : io_(io),
      config_(std::move(config)),
      mode_(mode),
      programs_(std::move(programs)),
      records_(std::move(records)),
      cgroups_(config_.cgroup),
      slots_(
          cgroups_, [this](const Spawn& request) { return programs_.init.run(request); },
          records_.borrow(), spare_births(mode)),
      audit_(mode == plan::Mode::private_ ? std::nullopt : std::optional(std::move(journal))),
      pasta_(open_pasta(config_.pasta, ::geteuid())),
      scratch_(io, config_.scratch, programs_.sweep.borrow()),
      shop_{io,
            cgroups_,
            slots_,
            mode,
            programs_.init,
            programs_.network,
            programs_.relay.borrow(),
            pasta_.program.borrow(),
            pasta_.why_not,
            leases_,
            scratch_,
            surroundings_},
      jobs_(shop_, config_, quotas_, audit_),
      fronts_(io, std::move(programs_.front), config_.spare_fronts,
              {[this](Front& front, const plan::Ask& ask) { on_ask(front, ask); },
               [this](Front& front) { on_gone(front); }}),
      door_(io, mode == plan::Mode::system,
            {[this](sys::UniqueFd connection, Peer peer) {
               return serve(std::move(connection), std::move(peer));
             },
             [this](std::vector<sys::UniqueFd> connections, Peer peer, const plan::Refusal& why) {
               return assign(std::move(connections), std::move(peer), why);
             },
             [this](uid_t uid) {
               uncount(uid, 1);
               if (only_one_) shut_down();
             }}),
      pause_(io),
      refill_(io) {
  surroundings_.jobs_are([this](std::string_view cgroups) { return cgroups_.is_job(cgroups); });
  if (mode == plan::Mode::system && !leases_.keep_in(records_.borrow()))
    std::fprintf(stderr, "cloisterd: cannot store which ids are leased next: %s\n",
                 std::strerror(errno));
  leases_.configure(config_.lease);
  if (leases_.has_ids() && shop_.landlock_abi < kLeasableAbi)
    std::fprintf(stderr,
                 "cloisterd: no ids are leased: that needs Landlock ABI 2 (Linux 5.19), which this "
                 "kernel lacks or has switched off (lsm= at boot)\n");
  while (fronts_.replenish()) {
  }
  slots_.replenish();
}

void Monitor::listen(sys::UniqueFd listener) {
  scratch_.remove_abandoned(own_ids(config_.subordinate));
  accept(std::make_shared<stream_descriptor>(io_, listener.take()));
}

// Of the processor: what others take of it meanwhile is no reason to wait.
static std::chrono::nanoseconds time_used() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

void Monitor::accept(std::shared_ptr<stream_descriptor> listener) {
  listener->async_wait(
      stream_descriptor::wait_read, [this, listener](boost::system::error_code error) {
        if (error || ending_) return;
        const auto start = time_used();
        // Later, and meanwhile those who are here already have their turn. Who waits in
        // the backlog waits, and who connects in a loop with them.
        const auto pause = [&](Door::Clock::duration time) {
          pause_.expires_after(time);
          pause_.async_wait([this, listener](boost::system::error_code stopped) {
            if (!stopped) accept(listener);
          });
        };
        constexpr int kAtOnce = 16;
        for (int i = 0; i < kAtOnce; ++i) {
          sys::UniqueFd connection(
              ::accept4(listener->native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
          if (connection)
            admit(std::move(connection));
          else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            return pause(std::chrono::milliseconds(100));  // accepting at once again would spin
          else if (errno != EINTR && errno != ECONNABORTED)
            return accept(listener);
        }
        // Half of our time: one who is always busy is the last whom the scheduler wakes.
        pause(time_used() - start);
      });
}

void Monitor::admit(sys::UniqueFd connection) {
  if (!only_one_ && Door::gone_without_a_word(connection.borrow())) return;
  std::optional<Peer> peer = peer_of(connection.borrow());
  const uint32_t in_all = ++connections_in_all_;
  // No credentials: nobody is there. A front closes what may be queued on it.
  if (!peer) peer.emplace(), peer->uid = kOverflowUid;
  const std::shared_ptr<const Rule> rule = config_.policy.rule_for(*peer);
  const auto over = quotas_.connect(peer->uid, rule->quota);
  if (in_all > config_.connections)
    door_.refuse(std::move(connection), std::move(*peer),
                 refusal("peer", plan::Reason::max_connections, rule->name, config_.connections,
                         in_all - 1));
  else if (over)
    door_.refuse(std::move(connection), std::move(*peer),
                 refusal("peer", over->reason, rule->name, over->limit, over->in_use));
  else
    door_.enter(std::move(connection), std::move(*peer));
}

// `kind` none: the peer stands where it may be served.
plan::Refusal Monitor::confined(const Peer& peer, bool complete) const {
  const auto denied = [](plan::Reason reason) { return refusal("peer", reason, {}); };
  if (!complete) return denied(plan::Reason::caller_is_gone);
  if (mode_ != plan::Mode::system && peer.uid != ::geteuid() && peer.uid != 0)
    return denied(plan::Reason::another_users_service);
  // All who have no number here share this one.
  if (mode_ == plan::Mode::system && peer.uid == kOverflowUid)
    return denied(plan::Reason::unmapped_uid);
  if (only_one_ || config_.confined_callers) return {};
  const plan::Reason reason = surroundings_.confinement_of(peer);
  return reason == plan::Reason::none ? plan::Refusal{} : denied(reason);
}

Door::Clock::duration Monitor::serve(sys::UniqueFd connection, Peer peer) {
  const auto start = Door::Clock::now();
  const bool whole = complete(peer, connection.borrow());
  plan::Refusal refuse =
      config_.wrong ? plan::Refusal{.kind = RefusalKind::misconfigured} : confined(peer, whole);
  // If it is let through all the same: at least nothing that a filter was to
  // keep from it comes by a set-uid program.
  if (surroundings_.filters(peer)) peer.no_new_privs = true;
  if (!only_one_ && !config_.confined_callers) peer.elsewhere = surroundings_.elsewhere(peer);
  if (refuse.kind == RefusalKind::none && ending_)
    refuse = refusal("peer", plan::Reason::shutting_down, {});
  std::vector<sys::UniqueFd> one;
  one.push_back(std::move(connection));
  const auto looked = Door::Clock::now() - start;
  return looked + assign(std::move(one), std::move(peer), refuse);
}

Door::Clock::duration Monitor::assign(std::vector<sys::UniqueFd> connections, Peer peer,
                                      const plan::Refusal& refuse) {
  const auto start = Door::Clock::now();
  const uid_t uid = peer.uid;
  const auto count = static_cast<uint32_t>(connections.size());
  if (refuse.kind != RefusalKind::none) audit_.refused(uid, refuse);
  peer.ids = jobs_.ids_of(uid);
  peer.limits = cgroups_.limits();
  if (!fronts_.assign(std::move(connections), std::move(peer), mode_, refuse, config_.wrong))
    uncount(uid, count);
  replenish_soon();
  // A spare was made before, and the next one is made for it.
  return std::max(Door::Clock::now() - start, fronts_.making());
}

// A moment later, so that the request at hand does not share the processor
// with the start of the next front.
void Monitor::replenish_soon() {
  if (only_one_ || ending_ || std::exchange(refill_armed_, true)) return;
  refill_.expires_after(std::chrono::milliseconds(10));
  refill_.async_wait([this](boost::system::error_code error) {
    refill_armed_ = false;
    if (!error && fronts_.replenish()) replenish_soon();
  });
}

void Monitor::serve_only(sys::UniqueFd connection) {
  scratch_.remove_abandoned(own_ids(config_.subordinate));
  admit(std::move(connection));
}

void Monitor::on_ask(Front& front, const plan::Ask& ask) {
  using Verb = void (Jobs::*)(Front&, const plan::Ask&);
  static constexpr Verb kVerbs[] = {
#define X(id) &Jobs::id,
      CLOISTER_ASKS(X)
#undef X
  };
  const auto verb = static_cast<size_t>(ask.kind);
  // An honest front asks nothing else.
  if (verb >= std::size(kVerbs)) return front.kill();
  (jobs_.*kVerbs[verb])(front, ask);
}

void Monitor::uncount(uid_t uid, uint32_t connections) {
  connections_in_all_ -= connections;
  for (uint32_t i = 0; i < connections; ++i) quotas_.disconnect(uid);
}

void Monitor::adopt(Config config) {
  config_ = std::move(config);
  leases_.configure(config_.lease);
  fronts_.keep(config_.spare_fronts);
  replenish_soon();
}

void Monitor::on_gone(Front& front) {
  uncount(front.peer().uid, front.connections());
  jobs_.disconnected(front);
  if (only_one_) shut_down();
}

void Monitor::shut_down() {
  if (std::exchange(ending_, true)) return;
  jobs_.shut_down([this] { end_fronts(); });
  // A payload can sleep in the kernel, in a FUSE file that nobody answers for, and
  // dies when it wakes. It keeps nobody.
  pause_.expires_after(std::chrono::seconds(10));
  pause_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    jobs_.tell_who_is_left();
    end_fronts();
  });
}

void Monitor::end_fronts() {
  fronts_.kill_all([this] { io_.stop(); });
  // A front can hang in the close of a client's descriptor; it keeps nobody.
  pause_.expires_after(std::chrono::seconds(1));
  pause_.async_wait([this](boost::system::error_code error) {
    if (!error) io_.stop();
  });
}

}  // namespace cloister::monitor
