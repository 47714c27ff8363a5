// The two ends of `cloisterd --reload`. To connect is to ask: the service reads
// its configuration again, answers with one message, and hangs up. The socket
// lies among the records, where only the service's own user can come.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <string>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {

class ReloadSocket {
 public:
  struct Outcome {
    bool done;
    std::string text;  // for people: what was done, or why not
  };
  using Reload = std::function<Outcome()>;

  // `records`: the record directory, borrowed. Without a socket there (a path too
  // long, a full disk) SIGHUP still reloads, and this says so on standard error.
  ReloadSocket(boost::asio::io_context& io, int records, Reload reload);

 private:
  void wait();
  void answer(const sys::UniqueFd& asking);

  boost::asio::posix::stream_descriptor listener_;
  Reload reload_;
};

// Asks the service of that runtime directory, and prints what it answers. The exit
// code: EX_OK, EX_CONFIG, or EX_UNAVAILABLE where none answers.
int ask_to_reload(const std::string& runtime);

}  // namespace cloister::monitor
