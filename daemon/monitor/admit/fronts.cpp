#include "admit/fronts.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sys/rights.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U  // Linux 6.3
#endif

namespace cloister::monitor {
namespace {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;

// A front that has let this many answers pile up is not reading them. Beyond the
// page of a list these are events: nothing is asked while an answer waits.
constexpr size_t kMostQueued = 128;
// Then other connections have their turn.
constexpr int kAsksAtOnce = 16;
constexpr std::chrono::milliseconds kAskTime{1};

// One datagram. EAGAIN: the socket is full.
bool send_tell(int socket, const plan::Tell& tell, const sys::Rights& descriptors) {
  return sys::send_rights(socket, &tell, sizeof tell, descriptors, MSG_DONTWAIT);
}

// As much as there is room for. What is no printable ASCII would be cut in two, or
// be none in JSON.
template <size_t n>
void put(std::string_view text, char (&into)[n]) {
  text = text.substr(0, n - 1);
  std::replace_copy_if(
      text.begin(), text.end(), into, [](unsigned char byte) { return byte < 0x20 || byte > 0x7e; },
      '?');
}

void put(const Misconfiguration& wrong, plan::Misconfigured& into) {
  put(wrong.file, into.file);
  put(wrong.place, into.place);
  put(wrong.reason, into.reason);
}

// Both are stops or continues of one job, for one call. Of those that were not taken
// the last one is told, as waitid(2) does.
bool is_change_beside(const plan::Tell& one, const plan::Tell& other) {
  const auto change = [](const plan::Tell& tell) {
    return tell.kind == plan::TellKind::event && tell.state.event != plan::JobPhase::ended;
  };
  return change(one) && change(other) && one.sequence == other.sequence &&
         std::equal(one.state.job, std::end(one.state.job), other.state.job);
}

}  // namespace

sys::UniqueFd new_plan() {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = ::memfd_create("cloister-plan", flags | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create("cloister-plan", flags);
  return sys::UniqueFd(fd);
}

Front::Front(Fronts& owner, sys::UniqueFd asks, sys::UniqueFd tells)
    : owner_(owner),
      end_(owner.io_),
      asks_(owner.io_, asks.take()),
      tells_(owner.io_, tells.take()) {}

int Front::plan() {
  if (!plan_) plan_ = new_plan();
  return plan_.borrow();
}

void Front::tell(const plan::Tell& tell, const sys::Rights& descriptors) {
  if (gone_) return;
  if (queue_.empty()) {
    if (send_tell(tells_.native_handle(), tell, descriptors)) return;
    if (errno != EAGAIN && errno != ENOBUFS && errno != ETOOMANYREFS) return kill();
  }
  const size_t waiting = queue_.size();
  if (waiting >= 2 && is_change_beside(queue_[waiting - 1].tell, tell) &&
      is_change_beside(queue_[waiting - 2].tell, tell)) {
    queue_.back().tell = tell;
    return;
  }
  if (waiting >= kMostQueued) return kill();
  Queued queued{tell, {}};
  for (int fd : descriptors.list()) {
    queued.descriptors.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, kReservedFds));
    if (!queued.descriptors.back()) return kill();
  }
  queue_.push_back(std::move(queued));
  if (queue_.size() == 1) flush();
}

void Front::flush() {
  tells_.async_wait(stream_descriptor::wait_write,
                    [self = shared_from_this()](boost::system::error_code error) {
                      if (error || self->gone_) return;
                      while (!self->queue_.empty()) {
                        const Queued& next = self->queue_.front();
                        sys::Rights borrowed;
                        for (const auto& fd : next.descriptors) borrowed.add(fd.borrow());
                        if (!send_tell(self->tells_.native_handle(), next.tell, borrowed)) {
                          if (errno != EAGAIN) return self->kill();
                          return self->flush();
                        }
                        self->queue_.pop_front();
                      }
                      if (std::exchange(self->paused_, false)) self->read_asks();
                    });
}

void Front::kill() { end_.kill(); }

void Front::read_asks() {
  asks_.async_wait(stream_descriptor::wait_read,
                   [self = shared_from_this()](boost::system::error_code error) {
                     if (error || self->gone_) return;
                     const auto end = std::chrono::steady_clock::now() + kAskTime;
                     for (int i = 0; i < kAsksAtOnce && !self->gone_ && self->queue_.empty(); ++i) {
                       if (i > 0 && std::chrono::steady_clock::now() > end) break;
                       plan::Ask ask;
                       const ssize_t size = ::read(self->asks_.native_handle(), &ask, sizeof ask);
                       if (size < 0 && (errno == EAGAIN || errno == EINTR)) break;
                       // Anything but a whole Ask, end of file included, is the end.
                       if (size != sizeof ask) return self->gone();
                       self->owner_.handlers_.ask(*self, ask);
                     }
                     if (self->gone_) return;
                     self->paused_ = !self->queue_.empty();  // until flush() has emptied it
                     if (!self->paused_) self->read_asks();
                   });
}

// The nursery reaps it; one whose nursery was killed comes to us.
void Front::watch_end(sys::UniqueFd pidfd) {
  end_.of_another(std::move(pidfd), [self = shared_from_this()](const Reaped&) {
    self->gone();
    self->end_.forget();
    self->owner_.ended(*self);
  });
}

void Front::gone() {
  if (std::exchange(gone_, true)) return;
  queue_.clear();
  boost::system::error_code ignored;  // nothing of ours depends on these any more
  asks_.close(ignored);
  tells_.close(ignored);
  kill();
  // A spare had nobody.
  if (owner_.assigned_.contains(shared_from_this())) owner_.handlers_.gone(*this);
}

Fronts::Fronts(asio::io_context& io, sys::UniqueFd executable, unsigned spares, Handlers handlers)
    : io_(io),
      executable_(std::move(executable)),
      spares_(spares),
      handlers_(std::move(handlers)) {}

Fronts::~Fronts() { end_nursery(); }

bool Fronts::start_nursery() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return false;
  nursery_control_.reset(ends[0]);
  const sys::UniqueFd theirs(ends[1]);
  // It forks in well under a millisecond; one that does not is replaced.
  constexpr timeval kPatience{5, 0};
  ::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  const FdMove moves[] = {{theirs.borrow(), plan::kNurseryFd}};
  nursery_ = spawn({executable_.borrow(), "cloister-front", moves});
  return nursery_.pid > 0;
}

void Fronts::end_nursery() {
  nursery_control_.reset();
  if (nursery_.pid <= 0) return;
  // It reaps the fronts that have ended, and ends.
  pollfd ended{nursery_.pidfd.borrow(), POLLIN, 0};
  ::poll(&ended, 1, 1000) > 0 ? reap_now(nursery_.pid) : end_now(nursery_);
  nursery_ = {};
}

// The pidfd of a new front with these two. Without one, and `answers`: we have
// no descriptor left for it, and the front ends when it finds its channel closed.
sys::UniqueFd Fronts::ask_nursery(int asks, int tells, bool& answers) {
  const char birth = 0;
  char reply;
  std::vector<sys::UniqueFd> pidfd;
  answers = nursery_control_ &&
            sys::send_rights(nursery_control_.borrow(), &birth, 1, {asks, tells}) &&
            sys::receive_rights(nursery_control_.borrow(), &reply, 1, pidfd) == 1;
  return answers && pidfd.size() == 1 ? std::move(pidfd[0]) : sys::UniqueFd();
}

std::shared_ptr<Front> Fronts::start() {
  const auto begin = std::chrono::steady_clock::now();
  int asks[2], tells[2];
  if (::pipe2(asks, O_CLOEXEC) < 0) return {};
  sys::UniqueFd ask_read(asks[0]), ask_write(asks[1]);
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, tells) < 0) return {};
  sys::UniqueFd tell_write(tells[0]), tell_read(tells[1]);
  // From now on a front that sends to us gets EPIPE: no descriptor of a
  // client's can wait in a queue that we would have to close.
  ::shutdown(tell_write.borrow(), SHUT_RD);
  ::fcntl(ask_read.borrow(), F_SETFL, O_NONBLOCK);
  bool answers;
  sys::UniqueFd pidfd = ask_nursery(ask_write.borrow(), tell_read.borrow(), answers);
  if (!answers) {
    end_nursery();
    if (start_nursery()) pidfd = ask_nursery(ask_write.borrow(), tell_read.borrow(), answers);
  }
  if (!pidfd) return {};
  auto front = std::make_shared<Front>(*this, std::move(ask_read), std::move(tell_write));
  front->watch_end(std::move(pidfd));
  making_ = std::chrono::steady_clock::now() - begin;
  return front;
}

bool Fronts::replenish() {
  if (waiting_.size() >= spares_) return false;
  auto front = start();
  if (!front) return false;
  waiting_.push_back(std::move(front));
  return waiting_.size() < spares_;
}

bool Fronts::assign(std::vector<sys::UniqueFd> connections, Peer peer, plan::Mode mode,
                    const plan::Refusal& refuse, const Misconfiguration& wrong) {
  while (!waiting_.empty() && !waiting_.front()->end_.lives())
    waiting_.pop_front();  // its end is on its way to us
  if (waiting_.empty()) waiting_.push_back(start());
  const std::shared_ptr<Front> front = waiting_.front();
  waiting_.pop_front();
  if (!front) return false;
  plan::Tell hello{};
  hello.kind = plan::TellKind::assigned;
  hello.peer.uid = peer.uid;
  hello.peer.gid = peer.gid;
  hello.peer.pid = peer.pid;
  hello.peer.group_count = static_cast<uint32_t>(peer.groups.size());
  hello.peer.no_new_privs = peer.no_new_privs;
  hello.peer.mode = static_cast<uint32_t>(mode);
  hello.peer.ids = peer.ids;
  hello.peer.limits = peer.limits;
  hello.peer.connections = static_cast<uint32_t>(connections.size());
  hello.peer.refusal = refuse;
  if (refuse.kind == plan::RefusalKind::misconfigured) put(wrong, hello.peer.wrong);
  front->peer_ = std::move(peer);
  assigned_.insert(front);
  front->connections_ = hello.peer.connections;
  std::vector<int> borrowed;
  borrowed.reserve(connections.size() + 1);
  for (const sys::UniqueFd& connection : connections) borrowed.push_back(connection.borrow());
  if (refuse.kind == plan::RefusalKind::none) borrowed.push_back(front->plan());
  size_t sent = 0;
  const auto next = [&] {
    sys::Rights rights;
    for (const size_t end = std::min(borrowed.size(), sent + sys::kMaxRights); sent < end; ++sent)
      rights.add(borrowed[sent]);
    return rights;
  };
  front->tell(hello, next());
  const std::vector<gid_t>& groups = front->peer_.groups;
  for (size_t at = 0; at < groups.size();) {
    plan::Tell batch{};
    batch.kind = plan::TellKind::groups;
    const size_t count = std::min(groups.size() - at, std::size(batch.groups));
    std::copy_n(groups.begin() + static_cast<std::ptrdiff_t>(at), count, batch.groups);
    front->tell(batch);
    at += count;
  }
  while (sent < borrowed.size()) {
    plan::Tell more{};
    more.kind = plan::TellKind::refused_too;
    front->tell(more, next());
  }
  front->read_asks();
  return true;
}

void Fronts::ended(Front& front) {
  const auto self = front.shared_from_this();
  assigned_.erase(self);
  // A spare that died before its first connection: the next replenish() counts.
  std::erase(waiting_, self);
  if (all_ended_ && assigned_.empty() && waiting_.empty()) std::exchange(all_ended_, nullptr)();
}

void Fronts::kill_all(std::function<void()> ended) {
  for (const auto& front : assigned_) front->kill();
  for (const auto& front : waiting_) front->kill();
  if (assigned_.empty() && waiting_.empty()) return ended();
  all_ended_ = std::move(ended);
}

}  // namespace cloister::monitor
