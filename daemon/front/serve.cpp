// The whole path of a call: read, take apart, serve, reply.
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <utility>

#include "reply.hpp"
#include "session.hpp"

namespace cloister::front {

namespace asio = boost::asio;
using asio::use_awaitable;
using varlink::Method;

namespace {

// Calls that may wait behind the one that is served, and the bytes of their
// messages: then no more are read.
constexpr size_t kMostPending = 64;
constexpr size_t kMostPendingBytes = varlink::kMaxMessageBytes;
// What is taken apart is many times its text: one that is larger and has to wait
// waits as text.
constexpr size_t kMostParsedAhead = 16u << 10;
// A message that has begun must end within this time.
constexpr std::chrono::seconds kMessageDeadline{10};

// A value inside the request that no reader gets to see (a duplicate key, a
// NUL, "-0") is refused like one that it does; the connection goes on.
std::optional<varlink::Reply> refused_value(const varlink::Malformed& wrong) {
  constexpr std::string_view kRequest = "parameters.request.";
  if (!wrong.field.starts_with(kRequest)) return std::nullopt;
  return varlink::invalid_request(wrong.field.substr(kRequest.size()), wrong.reason, wrong.expected,
                                  wrong.got);
}

int64_t microseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() -
                                                               start)
      .count();
}

}  // namespace

Session::Session(asio::io_context& io, varlink::Connection::Socket socket, Caller caller,
                 Profiles profiles, sys::UniqueFd plan)
    : io_(io),
      connection_(std::move(socket)),
      monitor_(io),
      caller_(std::move(caller)),
      profiles_(std::move(profiles)),
      plan_(std::move(plan)),
      pending_added_(io, asio::steady_timer::time_point::max()),
      pending_taken_(io, asio::steady_timer::time_point::max()) {}

void Session::run() {
  // One of these that has failed would leave a connection that answers nothing.
  const auto rethrow = [](std::exception_ptr thrown) {
    if (thrown) std::rethrow_exception(thrown);
  };
  asio::co_spawn(io_, read_calls(), rethrow);
  asio::co_spawn(io_, serve_calls(), rethrow);
  asio::co_spawn(io_, watch_hangup(), rethrow);
  asio::co_spawn(io_, watch_idleness(), rethrow);
  try {
    io_.run();
  } catch (const std::exception&) {
    // std::bad_alloc, beyond kMostMemory: more than the worst message that one may send
    // takes. Or what no code of ours expects.
  }
  leave();
}

// The end of a front is the end of its process: the kernel closes everything,
// and the monitor sees the pipe end. A descriptor of the client's that is slow
// to close keeps nobody but us.
void Session::leave() { ::_exit(0); }

Task<void> Session::read_calls() {
  for (;;) {
    auto message = co_await connection_.read();
    if (!message) {
      // An orderly end may be half of one: answers can still be read.
      if (message.error() != varlink::FrameError::closed)
        last_words_ = varlink::invalid_parameter(message.error().message());
      break;
    }
    ++messages_;
    accept(std::move(*message));
    if (last_words_) break;
    while (pending_.size() > kMostPending || pending_bytes_ > kMostPendingBytes) {
      boost::system::error_code woken;
      co_await pending_taken_.async_wait(asio::redirect_error(use_awaitable, woken));
    }
  }
  more_to_come_ = false;
  pending_added_.cancel();
}

void Session::accept(varlink::Message message) {
  Pending pending{.bytes = message.json.size()};
  pending.descriptors = std::move(message.descriptors);
  if ((serving_ || !pending_.empty()) && pending.bytes > kMostParsedAhead)
    pending.text = std::move(message.json);
  else if (parse(message.json, pending) != Parsed::call)
    return;
  pending_bytes_ += pending.bytes;
  pending_.push_back(std::move(pending));
  pending_added_.cancel();
}

Session::Parsed Session::parse(std::string_view text, Pending& into) {
  const auto start = std::chrono::steady_clock::now();
  auto call = varlink::parse_call(text);
  if (!call) {
    if ((into.refusal = refused_value(call.error()))) return Parsed::call;
    last_words_ = varlink::invalid_parameter(call.error().field.empty() ? call.error().reason
                                                                        : call.error().field);
    return Parsed::broken;
  }
  if (call->oneway && varlink::method_of(call->method) == Method::signal) {
    plan::Ask ask = monitor_.make(plan::AskKind::signal);
    std::optional<Problem> problem;
    std::string id;
    if (fill_signal(call->parameters, ask, problem, id) && !monitor_.ask(ask)) leave();
    return Parsed::done;
  }
  into.call = std::move(*call);
  into.parse_us = microseconds_since(start);
  return Parsed::call;
}

Task<void> Session::serve_calls() {
  for (;;) {
    if (!pending_.empty()) {
      Pending next = std::move(pending_.front());
      pending_.pop_front();
      pending_bytes_ -= next.bytes;
      pending_taken_.cancel();
      serving_ = true;
      co_await serve(std::move(next));
      serving_ = false;
    } else if (!more_to_come_) {
      if (last_words_) co_await reply(*last_words_);
      leave();
    } else {
      boost::system::error_code woken;
      co_await pending_added_.async_wait(asio::redirect_error(use_awaitable, woken));
    }
  }
}

Task<void> Session::serve(Pending pending) {
  if (!pending.text.empty()) {
    const Parsed parsed = parse(std::exchange(pending.text, std::string()), pending);
    if (parsed == Parsed::done) co_return;
    if (parsed == Parsed::broken) {
      co_await reply(*last_words_);
      leave();
    }
  }
  if (pending.refusal) co_return co_await reply(*pending.refusal);
  const auto method = varlink::method_of(pending.call.method);
  const bool launches = method == Method::run || method == Method::start || method == Method::plan;
  if (!method) co_return co_await reply(varlink::answer(pending.call));
  if (!launches && !pending.descriptors.empty())
    co_return co_await reply(
        varlink::invalid_request("", "has descriptors, which this method does not take", "none",
                                 std::to_string(pending.descriptors.size())));
  if (pending.call.upgrade) co_return co_await reply(varlink::invalid_parameter("upgrade"));
  if (pending.call.more && !varlink::may_stream(*method)) pending.call.more = false;
  if (pending.call.oneway && *method != Method::signal)
    co_return;  // nothing may be replied, and a job that nobody hears of is not started
  switch (*method) {
#define X(name, id) \
  case Method::id: co_return co_await on_##id(std::move(pending));
    CLOISTER_METHODS(X)
#undef X
  }
}

Task<void> Session::reply(const varlink::Reply& reply, std::vector<int> borrowed) {
  return write(varlink::to_text(reply), std::move(borrowed));
}

Task<void> Session::write(std::string text, std::vector<int> borrowed) {
  // GCC 12 destroys temporaries of a co_await in a condition twice.
  const auto written = co_await connection_.write(std::move(text), borrowed);
  if (!written) leave();
}

Task<void> Session::watch_hangup() {
  boost::system::error_code ignored;
  co_await connection_.socket().async_wait(asio::socket_base::wait_error,
                                           asio::redirect_error(use_awaitable, ignored));
  leave();
}

Task<void> Session::watch_idleness() {
  asio::steady_timer timer(io_);
  for (;;) {
    const uint64_t before = messages_;
    timer.expires_after(kMessageDeadline);
    co_await timer.async_wait(use_awaitable);
    if (messages_ == before && connection_.inside_message()) leave();
  }
}

}  // namespace cloister::front
