// The synchronous client. One connection, one call at a time, calls block; not
// for use by two threads at once. The asynchronous one is async_client.hpp: it
// stands apart because Boost.Asio costs seconds of compile time.
//
// Descriptors that a request names by `passed_fd` are given as a list of
// numbers, index 0 first. They are borrowed: the kernel copies them as the
// request is sent, and the caller goes on owning its own.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "cloister/calls.hpp"

namespace cloister {

class Client {
 public:
  // local.Unreachable says what was tried. Private mode starts a cloisterd that
  // ends, with all its jobs, when the client is destroyed.
  static Result<Client> connect(const ConnectOptions& options = {});

  // Over a connected AF_UNIX stream socket.
  static Client adopt(UniqueFd socket);

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Asks once (Describe) when the socket was named by path.
  Result<Mode> mode();

  // Runs one job to its end. `on_event` sees each event, the last one included,
  // and may keep its pty. With nobody listening only the verdict is sent.
  Result<Verdict> run(const Request& request, std::span<const int> descriptors = {},
                      const std::function<void(Event&)>& on_event = {});

  // Run in pieces, for a caller with a loop of its own: begin, then next_event()
  // whenever `socket()` is readable, until `ended` or an error. Meanwhile only
  // signal_running() may be called.
  Result<void> begin_run(const Request& request, std::span<const int> descriptors = {});
  Result<Event> next_event();
  Result<void> signal_running(std::string_view id, int signal,
                              SignalScope scope = SignalScope::main);
  int socket() const;  // borrowed

  // Returns once execve(2) succeeded.
  Result<Started> start(const Request& request, std::span<const int> descriptors = {});

  // `options` as waitid(2): WEXITED, WSTOPPED, WCONTINUED, WNOHANG, WNOWAIT.
  // Nothing when WNOHANG was given and nothing is to report.
  Result<std::optional<Event>> wait(const WaitTarget& target, int options = WEXITED);

  Result<void> signal(std::string_view id, int signal, SignalScope scope = SignalScope::main);
  // SIGTERM (or the job's stop_signal), its grace time or `timeout`, SIGKILL.
  Result<Verdict> stop(std::string_view id, std::optional<std::chrono::milliseconds> timeout = {});
  // What a job, running or ended, has written to its captured streams. `on_chunk` sees each
  // part, those of one stream in order.
  Result<void> output(std::string_view id, const OutputQuery& query,
                      const std::function<void(const OutputChunk&)>& on_chunk);
  Result<std::vector<JobInfo>> list(const ListFilter& filter = {});
  Result<Inspection> inspect(std::string_view id);
  Result<void> remove(std::string_view id);  // of an ended job: its verdict is gone after
  Result<DryRun> plan(const Request& request, std::span<const int> descriptors = {});
  Result<Description> describe();

  // Any method of any interface; `parameters` is the text of a JSON object.
  Result<Answer> call(std::string_view method, std::string_view parameters,
                      std::span<const int> descriptors = {});

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cloister
