// Session: one connection of one client, from its first call to its end, and
// the life of every call on it (serve.cpp is the whole path on one screen).
//
// Replies come strictly in the order of the calls. While one call is served
// the next are read and wait, up to a number and to a size, and then the client
// does; a `oneway` Signal does not wait.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "monitor_link.hpp"
#include "output.hpp"
#include "resolve/caller.hpp"
#include "resolve/profiles.hpp"
#include "resolve/resolve.hpp"
#include "varlink/connection.hpp"
#include "varlink/service.hpp"

namespace cloister::front {

template <class T>
using Task = boost::asio::awaitable<T>;

class Session {
 public:
  Session(boost::asio::io_context& io, varlink::Connection::Socket socket, Caller caller,
          Profiles profiles, sys::UniqueFd plan);

  // Serves until the client is gone, or has said all it had to say and has
  // all its answers.
  void run();

 private:
  struct Pending {
    size_t bytes = 0;       // of the message
    std::string text = {};  // instead of `call`: taken apart when its turn comes
    varlink::Call call = {};
    std::vector<sys::UniqueFd> descriptors = {};
    int64_t parse_us = 0;
    std::optional<varlink::Reply> refusal = {};  // the answer, where there is nothing to serve
  };
  enum class Parsed { call, done, broken };
  // Where an accepted job's events arrive.
  struct Launched {
    uint32_t sequence = 0;
    std::string id;
    sys::UniqueFd channel;              // to its init; empty when the job was there already
    std::vector<std::string> warnings;  // for people
    OutputReader::Files outputs;        // captured, if the client is told of it as it comes
  };

  // serve.cpp
  Task<void> read_calls();
  Task<void> serve_calls();
  Task<void> watch_hangup();
  Task<void> watch_idleness();
  Task<void> serve(Pending pending);
  // Made into text at once: `reply` need not outlive the call.
  Task<void> reply(const varlink::Reply& reply, std::vector<int> borrowed = {});
  Task<void> write(std::string text, std::vector<int> borrowed);
  void accept(varlink::Message message);
  // Fills `into`. `done`: it was a Signal that nobody waits for. `broken`:
  // last_words_ says why nothing after it is read.
  Parsed parse(std::string_view text, Pending& into);
  [[noreturn]] void leave();

  // One for each method: in jobs.cpp those that launch, in control.cpp the others.
#define X(name, id) Task<void> on_##id(Pending pending);
  CLOISTER_METHODS(X)
#undef X

  // jobs.cpp
  // Parse, merge, resolve, ask the monitor, hand the descriptors to init.
  // Nothing: the reply that says why was sent.
  Task<std::optional<Launched>> launch(Pending& pending, plan::Method method);
  // The next that is to be told: of the job, or of its output, which is told here.
  Task<Answer> next_answer(const Launched& launched, bool started, OutputReader& output);
  Task<bool> pass_descriptors(int channel, std::vector<sys::UniqueFd> descriptors);

  // control.cpp
  // Sends the Ask and returns its answer; a refusal was replied to already.
  Task<std::optional<Answer>> ask(plan::Ask ask, std::string id);
  bool fill_signal(const varlink::Json& parameters, plan::Ask& ask, std::optional<Problem>& problem,
                   std::string& id);

  boost::asio::io_context& io_;
  varlink::Connection connection_;
  MonitorLink monitor_;
  Caller caller_;
  Profiles profiles_;
  sys::UniqueFd plan_;  // the memfd for the next Plan
  std::deque<Pending> pending_;
  size_t pending_bytes_ = 0;
  bool serving_ = false;
  boost::asio::steady_timer pending_added_, pending_taken_;
  std::optional<varlink::Reply> last_words_;  // for bytes that are no call
  bool more_to_come_ = true;
  uint64_t messages_ = 0;
};

}  // namespace cloister::front
