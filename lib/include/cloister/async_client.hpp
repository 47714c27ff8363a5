// The client on Boost.Asio. Every operation takes a completion token for the
// signature void(Result<T>): callbacks, boost::asio::use_future,
// boost::asio::use_awaitable and boost::asio::deferred all work.
//
// A connection carries one call at a time, so the client keeps several to its
// service, opening one when all are busy; past `max_connections` calls wait for
// their turn. A private service has one connection: calls go one after another,
// except that signals reach the job that runs at once.
//
// A job whose `lifetime.on_disconnect` is not `keep` belongs to the connection
// that launched it, and ends at the latest when the client is destroyed.
// Cancelling an operation (by its cancellation slot) closes the connection it is
// on: a Run ends its job thereby.
//
// Members may be called from any thread. Handlers run on their associated
// executor, by default the client's. Descriptors named by `passed_fd` are
// borrowed until the operation completes.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/calls.hpp"

namespace cloister {

struct AsyncOptions : ConnectOptions {
  unsigned max_connections = 32;
};

class AsyncClient {
 public:
  using Descriptors = std::vector<int>;
  using OnEvent = std::function<void(Event&)>;
  using OnChunk = std::function<void(const OutputChunk&)>;

  // Returns at once: connecting to a local socket does not wait.
  static Result<AsyncClient> connect(boost::asio::any_io_executor executor,
                                     const AsyncOptions& options = {});
  // Over one connected AF_UNIX stream socket.
  static AsyncClient adopt(boost::asio::any_io_executor executor, UniqueFd socket);

  AsyncClient(AsyncClient&&) noexcept = default;
  AsyncClient& operator=(AsyncClient&& other) noexcept;
  ~AsyncClient();  // what is under way completes with local.Transport

  boost::asio::any_io_executor get_executor() const;

  // `on_event` sees each event, the last one included, in order, on the
  // client's own strand; it may keep the pty.
  template <class Token>
  auto async_run(const Request& request, Descriptors descriptors, OnEvent on_event, Token&& token) {
    return initiate<Verdict>(run_call(request, std::move(descriptors), std::move(on_event)),
                             std::forward<Token>(token));
  }
  template <class Token>
  auto async_run(const Request& request, Token&& token) {
    return initiate<Verdict>(run_call(request, {}, {}), std::forward<Token>(token));
  }
  template <class Token>
  auto async_start(const Request& request, Descriptors descriptors, Token&& token) {
    return initiate<Started>(request_call("Start", request, std::move(descriptors)),
                             std::forward<Token>(token));
  }
  template <class Token>
  auto async_plan(const Request& request, Descriptors descriptors, Token&& token) {
    return initiate<DryRun>(request_call("Plan", request, std::move(descriptors)),
                            std::forward<Token>(token));
  }
  template <class Token>
  auto async_wait(const WaitTarget& target, int options, Token&& token) {
    return initiate<std::optional<Event>>(wait_call(target, options), std::forward<Token>(token));
  }
  template <class Token>
  auto async_signal(std::string_view id, int signal, SignalScope scope, Token&& token) {
    return initiate<void>(signal_call(id, signal, scope), std::forward<Token>(token));
  }
  template <class Token>
  auto async_stop(std::string_view id, std::optional<std::chrono::milliseconds> timeout,
                  Token&& token) {
    return initiate<Verdict>(stop_call(id, timeout), std::forward<Token>(token));
  }
  template <class Token>
  auto async_list(const ListFilter& filter, Token&& token) {
    return initiate<std::vector<JobInfo>>(list_call(filter), std::forward<Token>(token));
  }
  template <class Token>
  auto async_inspect(std::string_view id, Token&& token) {
    return initiate<Inspection>(id_call("Inspect", id), std::forward<Token>(token));
  }
  // `on_chunk` sees each part of the output, on the client's own strand. On the one
  // connection of a private service, other calls wait until it is through.
  template <class Token>
  auto async_output(std::string_view id, const OutputQuery& query, OnChunk on_chunk,
                    Token&& token) {
    return initiate<void>(output_call(id, query, std::move(on_chunk)), std::forward<Token>(token));
  }
  template <class Token>
  auto async_remove(std::string_view id, Token&& token) {
    return initiate<void>(id_call("Remove", id), std::forward<Token>(token));
  }
  template <class Token>
  auto async_describe(Token&& token) {
    return initiate<Description>(named_call("io.cloister.Launcher.Describe", "{}", {}),
                                 std::forward<Token>(token));
  }
  // Any method of any interface; `parameters` is the text of a JSON object.
  template <class Token>
  auto async_call(std::string_view method, std::string parameters, Descriptors descriptors,
                  Token&& token) {
    return initiate<Answer>(named_call(method, std::move(parameters), std::move(descriptors)),
                            std::forward<Token>(token));
  }

 private:
  struct State;
  struct Call {
    std::string method;
    Result<std::string> parameters;
    Descriptors descriptors;
    OnEvent on_event;         // streams if set
    std::string oneway = {};  // what to send on a busy private connection instead
    OnChunk on_chunk = {};    // streams if set
  };
  template <class T>
  using Done = std::function<void(Result<T>)>;

  explicit AsyncClient(std::shared_ptr<State> state) : state_(std::move(state)) {}

  static Call run_call(const Request& request, Descriptors descriptors, OnEvent on_event);
  static Call request_call(const char* method, const Request& request, Descriptors descriptors);
  static Call wait_call(const WaitTarget& target, int options);
  static Call signal_call(std::string_view id, int signal, SignalScope scope);
  static Call stop_call(std::string_view id, std::optional<std::chrono::milliseconds> timeout);
  static Call list_call(const ListFilter& filter);
  static Call output_call(std::string_view id, const OutputQuery& query, OnChunk on_chunk);
  static Call id_call(const char* method, std::string_view id);
  static Call named_call(std::string_view method, std::string parameters, Descriptors descriptors);

  // Defined for the types above.
  template <class T>
  static void launch(std::shared_ptr<State> state, Call call, boost::asio::cancellation_slot slot,
                     Done<T> done);
  static boost::asio::any_io_executor executor_of(const State& state);

  template <class T, class Token>
  auto initiate(Call call, Token&& token) {
    namespace asio = boost::asio;
    return asio::async_initiate<Token, void(Result<T>)>(
        [state = state_](auto handler, Call what) {
          const auto slot = asio::get_associated_cancellation_slot(handler);
          const auto executor = asio::get_associated_executor(handler, executor_of(*state));
          // Shared, since std::function copies; called once all the same. The
          // guard keeps the handler's executor from running out of work.
          auto kept = std::make_shared<std::decay_t<decltype(handler)>>(std::move(handler));
          launch<T>(state, std::move(what), slot,
                    [kept, executor, work = asio::make_work_guard(executor)](Result<T> result) {
                      asio::dispatch(executor, [kept, result = std::move(result)]() mutable {
                        std::move (*kept)(std::move(result));
                      });
                    });
        },
        token, std::move(call));
  }

  std::shared_ptr<State> state_;
};

}  // namespace cloister
