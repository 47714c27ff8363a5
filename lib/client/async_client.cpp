#include "cloister/async_client.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <deque>
#include <exception>

#include "client/codec.hpp"
#include "client/connect.hpp"
#include "varlink/connection.hpp"

namespace cloister {
namespace {

namespace asio = boost::asio;
using asio::awaitable;

// A connection and who is on it.
struct Line {
  Line(asio::any_io_executor executor, UniqueFd socket)
      : connection(
            varlink::Connection::Socket(executor, asio::local::stream_protocol(), socket.take())) {}

  varlink::Connection connection;
  bool streaming = false;  // it waits for events of a job: a oneway call may go out
  bool writing = false;
};

Error cut_short() { return codec::transport(asio::error::operation_aborted); }

}  // namespace

// Everything in it happens on its strand.
struct AsyncClient::State : std::enable_shared_from_this<State> {
  State(asio::any_io_executor outer, PrivateService private_service, std::string socket_path,
        unsigned most)
      : executor(outer),
        strand(asio::make_strand(outer)),
        service(std::move(private_service)),
        path(std::move(socket_path)),
        max_lines(most) {}

  using LinePtr = std::shared_ptr<Line>;

  asio::any_io_executor executor;
  asio::any_io_executor strand;
  PrivateService service;  // before the lines: it ends when they are closed
  std::string path;        // empty: the line there is cannot be opened again
  unsigned max_lines;

  std::vector<LinePtr> lines;  // all of them
  std::vector<LinePtr> idle;
  std::deque<std::shared_ptr<asio::steady_timer>> waiting;  // in turn; woken by cancel()
  bool closed = false;

  void add(UniqueFd socket) {
    lines.push_back(std::make_shared<Line>(strand, std::move(socket)));
    idle.push_back(lines.back());
  }

  void wake_next() {
    if (waiting.empty()) return;
    waiting.front()->cancel();
    waiting.pop_front();
  }

  void give_back(const LinePtr& line) {
    idle.push_back(line);
    wake_next();
  }

  void drop(const LinePtr& line) {
    line->connection.close();
    std::erase(lines, line);
    wake_next();
  }

  void close() {
    closed = true;
    for (const auto& line : lines) line->connection.close();
    while (!waiting.empty()) wake_next();
  }

  awaitable<Result<LinePtr>> acquire();
  awaitable<Result<void>> write_oneway(LinePtr line, std::string text);
  awaitable<Result<codec::Received>> exchange(Call call);
};

awaitable<Result<AsyncClient::State::LinePtr>> AsyncClient::State::acquire() {
  for (;;) {
    if (closed) co_return cut_short();
    if (!idle.empty()) {
      LinePtr line = std::move(idle.back());
      idle.pop_back();
      co_return line;
    }
    if (path.empty() && lines.empty())
      co_return codec::transport(
          boost::system::errc::make_error_code(boost::system::errc::not_connected));
    if (!path.empty() && lines.size() < max_lines) {
      auto socket = connect_socket(path);
      if (!socket) co_return socket.error();
      lines.push_back(std::make_shared<Line>(strand, std::move(*socket)));
      co_return lines.back();
    }
    auto turn = std::make_shared<asio::steady_timer>(strand, asio::steady_timer::time_point::max());
    waiting.push_back(turn);
    boost::system::error_code woken;
    co_await turn->async_wait(asio::redirect_error(asio::use_awaitable, woken));
    // Cancelled by its own caller; who is woken is not.
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      // Woken at the same moment: the turn goes to the next one.
      if (std::erase(waiting, turn) == 0) wake_next();
      co_return cut_short();
    }
  }
}

awaitable<Result<void>> AsyncClient::State::write_oneway(LinePtr line, std::string text) {
  while (line->writing) {
    // Only a full socket buffer makes a write of this size wait.
    asio::steady_timer pause(strand, std::chrono::milliseconds(1));
    boost::system::error_code over;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, over));
    if (over) co_return cut_short();
  }
  line->writing = true;
  auto written = co_await line->connection.write(std::move(text));
  line->writing = false;
  if (!written) {
    // Half a message may be out: the stream cannot be used any further.
    line->connection.close();
    co_return codec::transport(written.error());
  }
  co_return Result<void>();
}

awaitable<Result<codec::Received>> AsyncClient::State::exchange(Call call) {
  if (!call.parameters) co_return call.parameters.error();

  if (!call.oneway.empty() && path.empty() && idle.empty() && !lines.empty() &&
      lines.front()->streaming) {
    auto written = co_await write_oneway(lines.front(), std::move(call.oneway));
    if (!written) co_return written.error();
    co_return codec::Received();
  }

  auto acquired = co_await acquire();
  if (!acquired) co_return acquired.error();
  // Back to the idle ones only by success: on every other way out, an exception
  // of on_event included, it is closed.
  struct Lease {
    std::shared_ptr<State> state;
    LinePtr line;
    bool good = false;
    ~Lease() {
      line->streaming = false;
      good ? state->give_back(line) : state->drop(line);
    }
  } lease{shared_from_this(), std::move(*acquired)};
  Line& line = *lease.line;

  const bool streams = call.on_event || call.on_chunk;
  std::string text = varlink::call_text(call.method, *call.parameters, streams);
  auto written = co_await line.connection.write(std::move(text), call.descriptors);
  if (!written && !codec::has_hung_up(written.error())) co_return codec::transport(written.error());
  line.streaming = static_cast<bool>(call.on_event);

  for (;;) {
    auto message = co_await line.connection.read();
    if (!message) co_return codec::transport(message.error());
    auto reply = codec::receive(std::move(*message));
    if (!reply) {
      lease.good = !reply.error().is("local.Protocol");
      co_return reply.error();
    }
    if (!streams) {
      if (reply->continues) co_return codec::protocol("the service sent more than was asked for");
      lease.good = true;
      co_return std::move(*reply);
    }
    const bool last = !reply->continues;
    codec::Received copy;
    if (last) copy.parameters = reply->parameters;
    if (call.on_chunk) {
      const auto chunk = codec::decode(std::move(*reply), std::type_identity<OutputChunk>{});
      if (!chunk) co_return chunk.error();
      call.on_chunk(*chunk);
    } else {
      auto event = codec::decode(std::move(*reply), std::type_identity<Event>{});
      if (!event) co_return event.error();
      if (last != (event->kind == Event::Kind::ended))
        co_return codec::protocol("the service ended its replies before the job did, or after it");
      call.on_event(*event);
    }
    if (last) {
      lease.good = true;
      co_return std::move(copy);
    }
  }
}

template <class T>
void AsyncClient::launch(std::shared_ptr<State> state, Call call, asio::cancellation_slot slot,
                         Done<T> done) {
  auto flow = [](std::shared_ptr<State> self, Call what, Done<T> finished) -> awaitable<void> {
    Result<codec::Received> reply;
    try {
      reply = co_await self->exchange(std::move(what));
    } catch (const boost::system::system_error& thrown) {
      // Asio throws it at the next co_await of a coroutine that was cancelled.
      if (thrown.code() != asio::error::operation_aborted) throw;
      reply = cut_short();
    }
    // co_spawn itself awaits once more where nothing had to wait so far, and
    // would throw the cancellation past its own handler (Boost 1.81).
    co_await asio::this_coro::throw_if_cancelled(false);
    if (!reply) {
      finished(reply.error());
    } else {
      finished(codec::decode(std::move(*reply), std::type_identity<T>{}));
    }
  };
  const auto executor = state->strand;
  asio::co_spawn(executor, flow(std::move(state), std::move(call), std::move(done)),
                 asio::bind_cancellation_slot(slot, [](std::exception_ptr thrown) {
                   if (thrown) std::rethrow_exception(thrown);
                 }));
}

template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<void>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<Verdict>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<Started>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<DryRun>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<std::optional<Event>>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<std::vector<JobInfo>>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<Inspection>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<Description>);
template void AsyncClient::launch(std::shared_ptr<State>, Call, asio::cancellation_slot,
                                  Done<Answer>);

Result<AsyncClient> AsyncClient::connect(asio::any_io_executor executor,
                                         const AsyncOptions& options) {
  auto found = find_service(options);
  if (!found) return found.error();
  auto state = std::make_shared<State>(std::move(executor), std::move(found->service),
                                       std::move(found->path), options.max_connections);
  state->add(std::move(found->socket));
  return AsyncClient(std::move(state));
}

AsyncClient AsyncClient::adopt(asio::any_io_executor executor, UniqueFd socket) {
  auto state = std::make_shared<State>(std::move(executor), PrivateService(), std::string(), 1);
  state->add(std::move(socket));
  return AsyncClient(std::move(state));
}

AsyncClient& AsyncClient::operator=(AsyncClient&& other) noexcept {
  std::swap(state_, other.state_);  // the other's destructor closes ours
  return *this;
}

AsyncClient::~AsyncClient() {
  if (!state_) return;
  const auto strand = state_->strand;
  asio::dispatch(strand, [state = std::move(state_)] { state->close(); });
}

asio::any_io_executor AsyncClient::get_executor() const { return state_->executor; }

asio::any_io_executor AsyncClient::executor_of(const State& state) { return state.executor; }

AsyncClient::Call AsyncClient::run_call(const Request& request, Descriptors descriptors,
                                        OnEvent on_event) {
  Call call = request_call("Run", request, std::move(descriptors));
  call.on_event = std::move(on_event);
  return call;
}

AsyncClient::Call AsyncClient::request_call(const char* method, const Request& request,
                                            Descriptors descriptors) {
  return {codec::method(method), codec::request_parameters(request), std::move(descriptors), {}};
}

AsyncClient::Call AsyncClient::wait_call(const WaitTarget& target, int options) {
  return {codec::method("Wait"), codec::wait_parameters(target, options), {}, {}};
}

AsyncClient::Call AsyncClient::signal_call(std::string_view id, int signal, SignalScope scope) {
  std::string parameters = codec::signal_parameters(id, signal, scope);
  std::string oneway = varlink::call_text(codec::method("Signal"), parameters, false, true);
  return {codec::method("Signal"), std::move(parameters), {}, {}, std::move(oneway)};
}

AsyncClient::Call AsyncClient::stop_call(std::string_view id,
                                         std::optional<std::chrono::milliseconds> timeout) {
  return {codec::method("Stop"), codec::stop_parameters(id, timeout), {}, {}};
}

AsyncClient::Call AsyncClient::list_call(const ListFilter& filter) {
  return {codec::method("List"), codec::list_parameters(filter), {}, {}};
}

AsyncClient::Call AsyncClient::output_call(std::string_view id, const OutputQuery& query,
                                           OnChunk on_chunk) {
  if (!on_chunk) on_chunk = [](const OutputChunk&) {};
  return {codec::method("Output"), codec::output_parameters(id, query), {}, {}, {},
          std::move(on_chunk)};
}

AsyncClient::Call AsyncClient::id_call(const char* method, std::string_view id) {
  return {codec::method(method), codec::id_parameters(id), {}, {}};
}

AsyncClient::Call AsyncClient::named_call(std::string_view method, std::string parameters,
                                          Descriptors descriptors) {
  return {std::string(method), std::move(parameters), std::move(descriptors), {}};
}

}  // namespace cloister
