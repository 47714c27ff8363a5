// The asynchronous client against a small service of the test's own.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <optional>

#include "client_peer.hpp"
#include "cloister/async_client.hpp"

using namespace cloister;
using namespace cloister::test;
namespace asio = boost::asio;

TEST_CASE("async run by callback, in events") {
  Single service(run_jobs);
  asio::io_context context;
  auto client = AsyncClient::adopt(context.get_executor(), std::move(service.client));
  std::string seen;
  std::optional<int> code;
  client.async_run(
      job({"x", "4"}), {}, [&](Event& event) { seen += to_string(event.kind); },
      [&](Result<Verdict> result) { code = result.value().exit_code; });
  CHECK_FALSE(code.has_value());  // never from within the call
  context.run();
  CHECK(seen == "acceptedstartedended");
  CHECK(code == 4);
}

TEST_CASE("async run by future, from a thread pool") {
  Listening service(run_jobs);
  asio::thread_pool pool(2);
  auto client = AsyncClient::connect(pool.get_executor(), {{.socket = service.path}});
  REQUIRE(client.has_value());
  std::vector<std::future<Result<Verdict>>> results;
  for (int i = 0; i < 50; i++)
    results.push_back(client->async_run(job({"x", std::to_string(i)}), asio::use_future));
  for (int i = 0; i < 50; i++) CHECK(results[static_cast<size_t>(i)].get()->exit_code == i);
}

TEST_CASE("async run by coroutine and by deferred") {
  Single service(run_jobs);
  asio::io_context context;
  auto client = AsyncClient::adopt(context.get_executor(), std::move(service.client));
  int sum = 0;
  const auto flow = [&]() -> asio::awaitable<void> {
    const Request request = job({"x", "5"});
    const auto first = co_await client.async_run(request, asio::use_awaitable);
    sum += first->exit_code.value();
    auto later = client.async_run(request, asio::deferred);
    const auto second = co_await std::move(later)(asio::use_awaitable);
    sum += second->exit_code.value();
  };
  asio::co_spawn(context, flow, [](std::exception_ptr thrown) {
    if (thrown) std::rethrow_exception(thrown);
  });
  context.run();
  CHECK(sum == 10);
}

TEST_CASE("calls at the same time use as many connections as allowed, others wait") {
  std::atomic<int> running = 0, most = 0;
  Listening service([&](Peer& peer) {
    const int now = ++running;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    ::usleep(20'000);
    running--;
    run_jobs(peer);
  });
  asio::io_context context;
  auto client = AsyncClient::connect(context.get_executor(), {{.socket = service.path}, 3}).value();
  int ended = 0;
  for (int i = 0; i < 12; i++)
    client.async_run(job(), [&](Result<Verdict> result) { ended += result.value().ok; });
  context.run();
  CHECK(ended == 12);
  CHECK(most == 3);
  CHECK(service.connections == 3);
}

TEST_CASE("an error reply leaves the connection in use, a broken one is replaced") {
  std::atomic<int> calls = 0;
  Listening service([&](Peer& peer) {
    switch (++calls) {
      case 1: return peer.send(varlink::no_such_job("j-9"));
      case 2: ::shutdown(peer.socket, SHUT_RDWR); return;
      default: return peer.reply(Json::object());
    }
  });
  asio::io_context context;
  auto client = AsyncClient::connect(context.get_executor(), {{.socket = service.path}}).value();
  std::vector<std::string> errors;
  const auto remove = [&] {
    client.async_remove("j-9", [&](Result<void> result) {
      errors.push_back(result.has_value() ? "" : result.error().name);
    });
    context.run();
    context.restart();
  };
  remove();
  CHECK(service.connections == 1);
  remove();
  remove();
  CHECK(errors ==
        std::vector<std::string>{"io.cloister.Launcher.NoSuchJob", "local.Transport", ""});
  CHECK(service.connections == 2);
}

TEST_CASE("cancelling a run closes its connection") {
  std::promise<void> hung_up;
  Single service([&](Peer& peer) {
    peer.reply({{"event", "accepted"}, {"id", "j-1"}}, true);
    // The payload runs on; only the end of the connection is seen.
    const auto next = varlink::read_message(peer.socket, *peer.reader);
    if (!next && next.error() == varlink::FrameError::closed) hung_up.set_value();
  });
  asio::io_context context;
  auto client = AsyncClient::adopt(context.get_executor(), std::move(service.client));
  asio::cancellation_signal cancel;
  std::optional<Error> error;
  client.async_run(
      job(), {}, [&](Event&) { cancel.emit(asio::cancellation_type::terminal); },
      asio::bind_cancellation_slot(cancel.slot(),
                                   [&](Result<Verdict> result) { error = result.error(); }));
  context.run();
  REQUIRE(error.has_value());
  CHECK(error->is("Transport"));
  CHECK(hung_up.get_future().wait_for(std::chrono::seconds(5)) == std::future_status::ready);
}

TEST_CASE("a signal reaches the job that runs on the only connection") {
  Single service([](Peer& peer) {
    REQUIRE(peer.is("Run"));
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 7}}, true);
    const auto next = varlink::read_message(peer.socket, *peer.reader);
    REQUIRE(next.has_value());
    const auto signal = varlink::parse_call(next->json);
    REQUIRE(signal.has_value());
    CHECK(signal->method == kPrefix + "Signal");
    CHECK(signal->oneway);
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", verdict("j-1", 9)}});
  });
  asio::io_context context;
  auto client = AsyncClient::adopt(context.get_executor(), std::move(service.client));
  bool sent = false;
  std::optional<int> code;
  client.async_run(
      job(), {},
      [&](Event& event) {
        if (event.kind == Event::Kind::started)
          client.async_signal(event.id, SIGTERM, SignalScope::main,
                              [&](Result<void> result) { sent = result.has_value(); });
      },
      [&](Result<Verdict> result) { code = result.value().exit_code; });
  context.run();
  CHECK(sent);
  CHECK(code == 9);
}

TEST_CASE("destroying the client completes what is under way, and what waits, with an error") {
  Single service([](Peer&) {});  // never answers
  asio::io_context context;
  std::optional<AsyncClient> client =
      AsyncClient::adopt(context.get_executor(), std::move(service.client));
  int failed = 0;
  for (int i = 0; i < 3; i++)
    client->async_run(job(), [&](Result<Verdict> result) {
      failed += !result.has_value() && result.error().is("Transport");
    });
  asio::steady_timer soon(context, std::chrono::milliseconds(20));
  soon.async_wait([&](boost::system::error_code) { client.reset(); });
  context.run();
  CHECK(failed == 3);
}

TEST_CASE("async output streams its parts, and another call gets the connection after it") {
  Json seen;
  bool more = false;
  Single service([&](Peer& peer) {
    if (!peer.is("Output")) return peer.reply(Json::object());
    seen = peer.call.parameters;
    more = peer.call.more;
    peer.reply({{"stream", "stdout"}, {"offset", 0}, {"data", "YQ=="}, {"end", false}}, true);
    peer.reply({{"stream", "stderr"}, {"offset", 4}, {"data", "Yg=="}, {"end", true}});
  });
  asio::io_context context;
  auto client = AsyncClient::adopt(context.get_executor(), std::move(service.client));
  std::string text;
  int good = 0;
  client.async_output(
      "j-1", {.stream = "", .follow = true},
      [&](const OutputChunk& chunk) {
        text += chunk.stream + "@" + std::to_string(chunk.offset) + ":" + chunk.data + " ";
      },
      [&](Result<void> result) { good += result.has_value(); });
  client.async_remove("j-1", [&](Result<void> result) { good += result.has_value(); });
  context.run();
  CHECK(text == "stdout@0:a stderr@4:b ");
  CHECK(seen == Json({{"id", "j-1"}, {"follow", true}}));
  CHECK(more);
  CHECK(good == 2);
}

TEST_CASE("async output reports what the service or the query has wrong") {
  Single service([](Peer& peer) { peer.send(varlink::no_such_job("j-9")); });
  asio::io_context context;
  auto client = AsyncClient::adopt(context.get_executor(), std::move(service.client));
  std::vector<std::string> errors;
  const auto keep = [&](Result<void> result) { errors.push_back(result.error().name); };
  client.async_output("j-9", {}, {}, keep);
  client.async_output("j-9", {.stream = "", .offset = 1}, {}, keep);
  context.run();
  std::sort(errors.begin(), errors.end());
  CHECK(errors == std::vector<std::string>{"io.cloister.Launcher.InvalidRequest",
                                           "io.cloister.Launcher.NoSuchJob"});
}
