// An init that is no process: what a test does with its ends of the channels is
// what init would have done. Its pid is nobody's, so that to reap it says "reaped
// already"; its pidfd is an eventfd, readable once it has "ended".
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "host/spawn.hpp"
#include "outcome.hpp"
#include "plan/order.hpp"
#include "plan/record.hpp"
#include "sys/rights.hpp"

namespace cloister::test {

class FakeInit {
 public:
  static constexpr pid_t kNobody = 0x3fffffff;  // above every pid_max, proc_sys_kernel(5)

  explicit FakeInit(const monitor::Spawn& request)
      : namespaces(request.namespaces), ambient(request.ambient), set_groups(request.set_groups) {
    for (const monitor::FdMove& move : request.moves)
      fds_[move.to].reset(::fcntl(move.from, F_DUPFD_CLOEXEC, 0));
    end_.reset(::eventfd(0, EFD_CLOEXEC));
    REQUIRE(end_);
  }

  monitor::Child child() const {
    return {kNobody, sys::UniqueFd(::fcntl(end_.borrow(), F_DUPFD_CLOEXEC, 0))};
  }
  void end() const {
    const uint64_t one = 1;
    REQUIRE(::write(end_.borrow(), &one, sizeof one) == sizeof one);
  }

  void report(plan::ReportKind kind, uint32_t detail = 0) const {
    const plan::Report message{kind, 0, detail, 2};
    REQUIRE(::send(control(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
            sizeof message);
  }
  void report_with(const plan::Report& report, int fd) const {
    REQUIRE(sys::send_rights(control(), &report, sizeof report, {fd}));
  }
  // The next that it was told.
  template <class Message>
  std::optional<Message> told() const {
    Message message;
    if (::recv(control(), &message, sizeof message, MSG_DONTWAIT) <
        static_cast<ssize_t>(sizeof message))
      return {};
    return message;
  }
  void write(const plan::ExitRecord& record) const {
    REQUIRE(::pwrite(at(plan::kRecordFd), &record, sizeof record, 0) == sizeof record);
  }

  const uint64_t namespaces;
  const bool ambient, set_groups;

 private:
  int control() const { return at(plan::kControlFd); }
  int at(int number) const { return fds_.at(number).borrow(); }

  std::map<int, sys::UniqueFd> fds_;
  sys::UniqueFd end_;
};

}  // namespace cloister::test
