#include "host/network_process.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "host/id_map.hpp"
#include "sys/rights.hpp"

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;
using plan::Failure;
using plan::Step;

NetworkProcess::NetworkProcess(boost::asio::io_context& io, OnUp up, OnGone gone)
    : io_(io), control_(io), end_(io), patience_(io), up_(std::move(up)), gone_(std::move(gone)) {}

Failure NetworkProcess::start(const Recipe& recipe) {
  const auto failed = [] { return Failure{Step::pasta, plan::kNone, errno, 0}; };
  uid_ = recipe.uid;
  gid_ = recipe.gid;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return failed();
  sys::UniqueFd ours(ends[0]), theirs(ends[1]);
  record_.reset(::memfd_create("cloister-record", MFD_CLOEXEC));
  if (!record_ || ::ftruncate(record_.borrow(), plan::kRecordBytes) < 0) return failed();
  const sys::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return failed();

  // As an init has them (lib/plan/order.hpp); it has no front and no leaf to kill.
  const FdMove moves[] = {{null.borrow(), 0},
                          {null.borrow(), 1},
                          {null.borrow(), 2},
                          {theirs.borrow(), plan::kControlFd},
                          {recipe.pasta, plan::kPastaFd},
                          {record_.borrow(), plan::kRecordFd},
                          {null.borrow(), plan::kPayloadCgroupFd},
                          {null.borrow(), plan::kCgroupKillFd}};
  Spawn request{.name = "cloister-network", .moves = moves};
  request.cgroup = recipe.init_leaf;
  request.groups = recipe.groups;
  request.set_groups = recipe.set_groups;
  Child child = recipe.program.run(request);
  if (child.pid < 0) return failed();
  pid_ = child.pid;

  plan::Order order{};
  order.version = plan::kOrderVersion;
  order.mapped_uid = recipe.uid;
  order.mapped_gid = recipe.gid;
  order.network_owner = recipe.job->network_owner;
  order.flags = recipe.job->flags & (plan::kSetLoginUid | plan::kSetLabel);
  order.login_uid = recipe.job->login_uid;
  std::copy(std::begin(recipe.job->label), std::end(recipe.job->label), order.label);
  sys::Rights descriptors = {recipe.plan};
  if (recipe.user_namespace >= 0) {
    order.join_count = 1;
    order.join_of[0] = static_cast<uint32_t>(plan::Namespace::user);
    descriptors.add(recipe.user_namespace);
  }
  order.tasks_count = static_cast<uint32_t>(recipe.tasks.size());
  for (int tasks : recipe.tasks) descriptors.add(tasks);
  if (!sys::send_rights(ours.borrow(), &order, sizeof order, descriptors)) {
    const Failure failure = failed();
    end_now(child);
    return failure;
  }
  control_.assign(ours.take());
  end_.of_child(std::move(child), [self = shared_from_this()](const Reaped&) { self->ended(); });
  read_reports();
  return {};
}

void NetworkProcess::read_reports() {
  control_.async_wait(
      stream_descriptor::wait_read, [self = shared_from_this()](boost::system::error_code error) {
        if (error) return;
        plan::Report report;
        const ssize_t size =
            ::recv(self->control_.native_handle(), &report, sizeof report, MSG_DONTWAIT);
        const bool nothing = size < 0 && (errno == EAGAIN || errno == EINTR);
        if (!nothing && size != sizeof report) return;  // its end: see its pidfd
        if (!nothing) self->on_report(report);
        if (self->control_.is_open()) self->read_reports();
      });
}

void NetworkProcess::on_report(const plan::Report& report) {
  if (report.kind == plan::ReportKind::maps) {
    const IdMaps own{{{uid_, uid_, 1}}, {{gid_, gid_, 1}}};
    write_id_maps(
        io_, {pid_, uid_, gid_, own, true},
        [self = shared_from_this()](const plan::Failure& failure) {
          if (failure.error) return self->end_.kill();
          const plan::Command proceed{plan::CommandKind::proceed, 0, plan::Scope::main, 0};
          ::send(self->control_.native_handle(), &proceed, sizeof proceed,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        });
  } else if (report.kind == plan::ReportKind::started) {
    // Our child, not reaped yet: the number is its own.
    sys::UniqueFd network(
        ::open(("/proc/" + std::to_string(pid_) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC));
    if (!network) return end_.kill();
    up_(std::move(network));
  }
}

void NetworkProcess::ended() {
  boost::system::error_code ignored;
  control_.close(ignored);
  patience_.cancel();
  const OnGone gone = std::exchange(gone_, nullptr);
  up_ = nullptr;
  gone(why_it_ended());
}

void NetworkProcess::end() {
  if (!control_.is_open()) return;
  boost::system::error_code ignored;
  control_.close(ignored);  // it ends pasta, reaps it, and ends
  // Its own uid can stop it: then pasta dies of its parent's death.
  patience_.expires_after(std::chrono::seconds(1));
  patience_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error) self->end_.kill();
  });
}

Failure NetworkProcess::why_it_ended() const {
  plan::ExitRecord record{};
  const bool whole = ::pread(record_.borrow(), &record, sizeof record, 0) == sizeof record &&
                     record.commit == plan::kRecordCommitted;
  if (whole && record.ending == plan::Ending::not_started) return record.failure;
  const uint32_t signal = whole && WIFSIGNALED(record.wait_status)
                              ? static_cast<uint32_t>(WTERMSIG(record.wait_status))
                              : 0;
  return {Step::pasta, plan::kNone, ENETDOWN, signal};
}

}  // namespace cloister::monitor
