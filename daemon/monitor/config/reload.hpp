// A reload of the configuration, and the two ends of `cloisterd --reload`. To
// connect is to ask: the service reads its configuration again, answers with one
// message, and hangs up. The socket lies among the records, where only the
// service's own user can come.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <string>
#include <vector>

#include "config/config_source.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

// One reading of the configuration at a time: who asks meanwhile is told how the
// next one went, which began after the question.
class Reloads {
 public:
  struct Outcome {
    bool done;
    std::string text;  // for people: what was done, or why not
  };
  using Told = std::function<void(const Outcome&)>;

  // `now`: what holds, for as long as this lives. `adopt`: what is to hold instead.
  Reloads(ConfigSource& source, const Config& now, std::function<void(Config)> adopt)
      : source_(source), now_(now), adopt_(std::move(adopt)) {}

  void ask(Told told);

 private:
  void read();
  Outcome settle(Config fresh);

  ConfigSource& source_;
  const Config& now_;
  std::function<void(Config)> adopt_;
  std::vector<Told> waiting_;
  bool reading_ = false;
};

class ReloadSocket {
 public:
  // `records`: the record directory, borrowed. Without a socket there (a path too
  // long, a full disk) SIGHUP still reloads, and this says so on standard error.
  ReloadSocket(boost::asio::io_context& io, int records, Reloads& reloads);

 private:
  void wait();
  void answer(sys::UniqueFd asking);

  boost::asio::posix::stream_descriptor listener_;
  Reloads& reloads_;
};

// Asks the service of that runtime directory, and prints what it answers. The exit
// code: EX_OK, EX_CONFIG, or EX_UNAVAILABLE where none answers.
int ask_to_reload(const std::string& runtime);

}  // namespace cloister::monitor
