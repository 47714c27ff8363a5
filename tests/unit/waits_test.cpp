// Who is told what of a job, over the channel to its front.
#include "life/waits.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "kept_jobs.hpp"

namespace cloister::test {
namespace {

using plan::JobPhase;
using plan::TellKind;

constexpr uid_t kOwner = 0;  // of a front that has not been assigned

// The far ends of a front's channels.
struct Channels {
  sys::UniqueFd asks_read, asks_write, tells_read, tells_write;
  Channels() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    asks_read.reset(ends[0]);
    asks_write.reset(ends[1]);
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    tells_read.reset(ends[0]);
    tells_write.reset(ends[1]);
  }
};

struct Client {
  Channels channels;
  Front front;
  explicit Client(Fronts& fronts)
      : front(fronts, std::move(channels.asks_read), std::move(channels.tells_write)) {}

  std::optional<plan::Tell> told() const {
    plan::Tell tell;
    if (::recv(channels.tells_read.borrow(), &tell, sizeof tell, MSG_DONTWAIT) != sizeof tell)
      return {};
    return tell;
  }
  Waiter waits(uint32_t sequence, uint32_t options) { return {&front, sequence, options, false}; }
};

struct Scene {
  boost::asio::io_context io;
  Fronts fronts{io, sys::UniqueFd(), 0, {[](Front&, const plan::Ask&) {}, [](Front&) {}}};
  Client client{fronts}, other{fronts};
  Waits waits;
  JobTable jobs{[this](JobTable::Entry& entry) { waits.forget(entry); }};
  JobId id = add_kept(jobs, {.owner = kOwner});
  JobTable::Entry& job = jobs.at(id);
};

TEST_CASE("a wait for a job hears the end that it asked for, once") {
  Scene scene;
  REQUIRE(scene.waits.ask_for(scene.job, scene.client.waits(7, WEXITED)));
  scene.waits.tell(scene.job, JobPhase::stopped, false);
  CHECK_FALSE(scene.client.told());
  scene.waits.tell(scene.job, JobPhase::ended, false);
  const auto tell = scene.client.told();
  REQUIRE(tell);
  CHECK(tell->kind == TellKind::event);
  CHECK(tell->sequence == 7);
  CHECK(tell->state.event == JobPhase::ended);
  CHECK(scene.job.waited);
  scene.waits.tell(scene.job, JobPhase::ended, false);
  CHECK_FALSE(scene.client.told());
}

TEST_CASE("with WNOWAIT the event stays for the next who asks") {
  Scene scene;
  REQUIRE(scene.waits.ask_for(scene.job, scene.client.waits(1, WEXITED | WNOWAIT)));
  scene.waits.tell(scene.job, JobPhase::ended, false);
  CHECK(scene.client.told());
  CHECK_FALSE(scene.job.waited);
}

TEST_CASE("stops and continues are told to who asked for them") {
  Scene scene;
  REQUIRE(scene.waits.ask_for(scene.job, scene.client.waits(1, WSTOPPED)));
  REQUIRE(scene.waits.ask_for(scene.job, scene.other.waits(2, WCONTINUED)));
  scene.job.change_waited = false;
  scene.waits.tell(scene.job, JobPhase::stopped, false);
  CHECK(scene.client.told());
  CHECK_FALSE(scene.other.told());
  CHECK(scene.job.change_waited);
  scene.waits.tell(scene.job, JobPhase::running, true);
  CHECK(scene.other.told());
}

TEST_CASE("a set is one's own jobs: another user's end is not heard") {
  Scene scene;
  plan::Ask any{};
  any.select = plan::Select::all;
  REQUIRE(scene.waits.ask_for_set(any, scene.client.waits(1, WEXITED)));
  const JobId others = add_kept(scene.jobs, {.owner = 1001});
  scene.waits.tell(scene.jobs.at(others), JobPhase::ended, false);
  CHECK_FALSE(scene.client.told());
  scene.waits.tell(scene.job, JobPhase::ended, false);
  CHECK(scene.client.told());
  scene.waits.tell(scene.job, JobPhase::ended, false);
  CHECK_FALSE(scene.client.told());
}

TEST_CASE("a front has so many waits at a time, and one more when one was answered") {
  Scene scene;
  for (uint32_t i = 0; i < Waits::kMostOfAFront; ++i)
    REQUIRE(scene.waits.ask_for(scene.job, scene.client.waits(i, i == 0 ? WSTOPPED : WEXITED)));
  CHECK_FALSE(scene.waits.ask_for(scene.job, scene.client.waits(99, WEXITED)));
  plan::Ask any{};
  any.select = plan::Select::all;
  CHECK_FALSE(scene.waits.ask_for_set(any, scene.client.waits(99, WEXITED)));
  CHECK(scene.waits.ask_for(scene.job, scene.other.waits(1, WEXITED)));
  scene.waits.tell(scene.job, JobPhase::stopped, false);
  CHECK(scene.waits.ask_for(scene.job, scene.client.waits(100, WEXITED)));
}

TEST_CASE("a user has so many waits for sets") {
  Scene scene;
  plan::Ask any{};
  any.select = plan::Select::all;
  std::vector<std::unique_ptr<Client>> clients;
  for (uint32_t i = 0; i < Waits::kMostSets; ++i) {
    if (i % Waits::kMostOfAFront == 0) clients.push_back(std::make_unique<Client>(scene.fronts));
    REQUIRE(scene.waits.ask_for_set(any, clients.back()->waits(i, WEXITED)));
  }
  CHECK_FALSE(scene.waits.ask_for_set(any, scene.client.waits(0, WEXITED)));
  scene.waits.disconnected(clients.back()->front);
  CHECK(scene.waits.ask_for_set(any, scene.client.waits(0, WEXITED)));
}

TEST_CASE("who waits for a job that is forgotten is told that there is none") {
  Scene scene;
  REQUIRE(scene.waits.ask_for(scene.job, scene.client.waits(5, WSTOPPED)));
  scene.jobs.forget(scene.id);
  const auto tell = scene.client.told();
  REQUIRE(tell);
  CHECK(tell->kind == TellKind::refused);
  CHECK(tell->sequence == 5);
  CHECK(tell->refusal.kind == plan::RefusalKind::no_such_job);
}

TEST_CASE("a connection that is gone is told nothing, the others are") {
  Scene scene;
  plan::Ask any{};
  any.select = plan::Select::all;
  REQUIRE(scene.waits.ask_for(scene.job, scene.client.waits(1, WEXITED)));
  REQUIRE(scene.waits.ask_for_set(any, scene.client.waits(2, WEXITED)));
  REQUIRE(scene.waits.ask_for(scene.job, scene.other.waits(3, WEXITED)));
  scene.waits.disconnected(scene.client.front);
  scene.waits.tell(scene.job, JobPhase::ended, false);
  CHECK_FALSE(scene.client.told());
  CHECK(scene.other.told());
}

TEST_CASE("a refusal of a descriptor goes to the submitter alone") {
  Scene scene;
  scene.waits.subscribe(scene.job, {&scene.client.front, 1, WEXITED, true});
  REQUIRE(scene.waits.ask_for(scene.job, scene.other.waits(2, WEXITED)));
  scene.waits.refuse_submitters(scene.job, {.kind = plan::RefusalKind::denied});
  const auto tell = scene.client.told();
  REQUIRE(tell);
  CHECK(tell->kind == TellKind::refused);
  CHECK(tell->refusal.kind == plan::RefusalKind::denied);
  CHECK_FALSE(scene.other.told());
  // It has its answer: the end is not a second one.
  scene.waits.tell(scene.job, JobPhase::ended, false);
  CHECK_FALSE(scene.client.told());
  CHECK(scene.other.told());
}

}  // namespace
}  // namespace cloister::test
