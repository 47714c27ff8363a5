#include "monitor.hpp"
#include "sys/root.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

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

struct Monitor::Silent {
  Silent(boost::asio::io_context& io, int fd) : connection(io, fd) {}
  stream_descriptor connection;
  Peer peer;
};

Monitor::Monitor(boost::asio::io_context& io, Config config, plan::Mode mode, Programs programs,
                 sys::UniqueFd records, std::string journal)
    : io_(io),
      config_(std::move(config)),
      mode_(mode),
      programs_(std::move(programs)),
      records_(std::move(records)),
      cgroups_(config_.cgroup),
      slots_(cgroups_, programs_.init, records_.borrow(), spare_births(mode)),
      audit_(mode == plan::Mode::private_ ? std::nullopt : std::optional(std::move(journal))),
      pasta_(open_pasta(config_.pasta, ::geteuid())),
      scratch_(io, config_.scratch, programs_.sweep.borrow()),
      shop_{io,   cgroups_,                slots_,
            mode, programs_.init,          pasta_.program.borrow(),
            pasta_.why_not, leases_, scratch_, surroundings_},
      jobs_(shop_, config_, quotas_, audit_),
      fronts_(io, std::move(programs_.front), config_.spare_fronts,
              {[this](Front& front, const plan::Ask& ask) { on_ask(front, ask); },
               [this](Front& front) { on_gone(front); }}),
      pause_(io),
      refill_(io) {
  surroundings_.jobs_are([this](std::string_view cgroups) { return cgroups_.is_job(cgroups); });
  if (mode == plan::Mode::system && !leases_.keep_in(records_.borrow()))
    std::fprintf(stderr, "cloisterd: cannot keep how far leases have gone round: %s\n",
                 std::strerror(errno));
  leases_.configure(config_.lease);
  if (leases_.has_ids() && shop_.landlock_abi < kLeasableAbi)
    std::fprintf(stderr, "cloisterd: no ids are leased: this kernel has no Landlock\n");
  scratch_.remove_abandoned(own_ids(config_.subordinate));
  fronts_.replenish();
  slots_.replenish();
}

void Monitor::listen(sys::UniqueFd listener) {
  accept(std::make_shared<stream_descriptor>(io_, listener.take()));
}

void Monitor::accept(std::shared_ptr<stream_descriptor> listener) {
  listener->async_wait(stream_descriptor::wait_read, [this, listener](
                                                         boost::system::error_code error) {
    if (error || ending_) return;
    constexpr int kAtOnce = 32;  // then those who are already here have their turn
    for (int i = 0; i < kAtOnce; ++i) {
      sys::UniqueFd connection(::accept4(listener->native_handle(), nullptr, nullptr,
                                         SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (connection) {
        admit(std::move(connection));
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // Who waits in the backlog waits; accepting at once again would spin.
        pause_.expires_after(std::chrono::milliseconds(100));
        return pause_.async_wait([this, listener](boost::system::error_code stopped) {
          if (!stopped) accept(listener);
        });
      } else if (errno != EINTR && errno != ECONNABORTED) {
        break;
      }
    }
    accept(listener);
  });
}

void Monitor::admit(sys::UniqueFd connection) {
  std::optional<Peer> peer = peer_of(connection.borrow());
  const uint32_t in_all = ++connections_in_all_;
  // No credentials: nobody is there. A front closes what may be queued on it.
  if (!peer) peer.emplace(), peer->uid = kOverflowUid;
  const std::shared_ptr<const Rule> rule = config_.policy.rule_for(*peer);
  const auto over = quotas_.connect(peer->uid, rule->quota);
  if (in_all > config_.connections)
    return hand_over(std::move(connection), std::move(*peer),
                     refusal(RefusalKind::busy, "peer", "max_connections", config_.connections,
                             in_all - 1, rule->name));
  if (over)
    return hand_over(std::move(connection), std::move(*peer),
                     refusal(RefusalKind::busy, "peer", rule->member(over->member), over->limit,
                             over->in_use, rule->name));
  pollfd said{connection.borrow(), POLLIN, 0};
  if (peer->pid == 0 || ::poll(&said, 1, 0) > 0)
    return hand_over(std::move(connection), std::move(*peer), {});
  // Who says nothing costs no process.
  auto silent = std::make_shared<Silent>(io_, connection.take());
  silent->peer = std::move(*peer);
  silent->connection.async_wait(
      stream_descriptor::wait_read, [this, silent](boost::system::error_code error) {
        if (error) return;
        hand_over(sys::UniqueFd(silent->connection.release()), std::move(silent->peer), {});
      });
}

// `kind` none: the peer stands where it may be served.
plan::Refusal Monitor::confined(const Peer& peer, bool complete) const {
  const auto denied = [](const char* rule) { return refusal(RefusalKind::denied, "peer", rule); };
  if (!complete) return denied("caller-is-gone");
  if (mode_ != plan::Mode::system && peer.uid != ::geteuid() && peer.uid != 0)
    return denied("another-users-service");
  // All who have no number here share this one.
  if (mode_ == plan::Mode::system && peer.uid == kOverflowUid) return denied("unmapped-uid");
  if (only_one_ || config_.confined_callers) return {};
  const char* rule = surroundings_.confinement_of(peer);
  return rule ? denied(rule) : plan::Refusal{};
}

void Monitor::hand_over(sys::UniqueFd connection, Peer peer, plan::Refusal refuse) {
  if (refuse.kind == RefusalKind::none) {
    const bool whole = complete(peer, connection.borrow());
    refuse = config_.wrong ? plan::Refusal{.kind = RefusalKind::misconfigured}
                           : confined(peer, whole);
    // If it is let through all the same: at least nothing that a filter was to
    // keep from it comes by a set-uid program.
    if (surroundings_.filters(peer)) peer.no_new_privs = true;
    if (!only_one_ && !config_.confined_callers) peer.elsewhere = surroundings_.elsewhere(peer);
  }
  if (refuse.kind == RefusalKind::none && ending_) refuse.kind = RefusalKind::shutting_down;
  const uid_t uid = peer.uid;
  if (refuse.kind != RefusalKind::none)
    audit_.refused(uid, refuse);
  peer.ids = jobs_.ids_of(uid);
  if (!fronts_.assign(std::move(connection), std::move(peer), mode_, refuse, config_.wrong))
    uncount(uid);
  replenish_soon();
}

// A moment later, so that the request at hand does not share the processor
// with the start of the next front.
void Monitor::replenish_soon() {
  if (only_one_ || ending_) return;
  refill_.expires_after(std::chrono::milliseconds(10));
  refill_.async_wait([this](boost::system::error_code error) {
    if (!error) fronts_.replenish();
  });
}

void Monitor::serve_only(sys::UniqueFd connection) {
  only_one_ = true;
  admit(std::move(connection));
}

void Monitor::on_ask(Front& front, const plan::Ask& ask) {
  using Verb = void (Jobs::*)(Front&, const plan::Ask&);
  static constexpr Verb kVerbs[] = {&Jobs::submit, &Jobs::wait,    &Jobs::signal, &Jobs::stop,
                                    &Jobs::list,   &Jobs::inspect, &Jobs::remove, &Jobs::describe};
  static_assert(std::size(kVerbs) == static_cast<size_t>(plan::AskKind::count_));
  const auto verb = static_cast<size_t>(ask.kind);
  // An honest front asks nothing else.
  if (verb >= std::size(kVerbs)) return front.kill();
  (jobs_.*kVerbs[verb])(front, ask);
}

void Monitor::uncount(uid_t uid) {
  --connections_in_all_;
  quotas_.disconnect(uid);
}

void Monitor::adopt(Config config) {
  config_ = std::move(config);
  leases_.configure(config_.lease);
  fronts_.keep(config_.spare_fronts);
  replenish_soon();
}

void Monitor::on_gone(Front& front) {
  uncount(front.peer().uid);
  jobs_.disconnected(front);
  if (only_one_) shut_down();
}

void Monitor::shut_down() {
  if (std::exchange(ending_, true)) return;
  jobs_.shut_down([this] {
    fronts_.kill_all([this] { io_.stop(); });
    // A front can hang in the close of a client's descriptor; it keeps nobody.
    pause_.expires_after(std::chrono::seconds(1));
    pause_.async_wait([this](boost::system::error_code error) {
      if (!error) io_.stop();
    });
  });
}

}  // namespace cloister::monitor
