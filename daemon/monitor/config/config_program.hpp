// The start of cloister-config, and what becomes of what it has read.
//
// It asks the user database, behind which there may be a network, and reads files
// on whatever file system they are: both may never answer. So nobody waits for it
// longer than kPatience, and the event loop not at all.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "config/config.hpp"

namespace cloister::monitor {

inline constexpr std::chrono::seconds kPatience{10};

struct ConfigOrder {
  int program;       // cloister-config, borrowed for the call
  bool of_root;      // the service of root, for everybody
  std::string file;  // cloisterd.json(5); empty: there is none
};

// Calls `done` once, from the event loop. A Config with a `wrong` where the program
// could not be started, has not ended well, or did not end in time: then it is
// killed, and reaped when it is dead, which who waits for a file system may not be soon.
void read_config(boost::asio::io_context& io, const ConfigOrder& order,
                 std::function<void(Config)> done);

}  // namespace cloister::monitor
