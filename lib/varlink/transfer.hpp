// Moving frames over a socket: the only place that calls sendmsg(2) and
// recvmsg(2) for Varlink. Works on blocking sockets (the synchronous client)
// and on non-blocking ones (connection.hpp).
#pragma once

#include <span>
#include <string>

#include "varlink/frame.hpp"

namespace cloister::varlink {

enum class Progress {
  complete,  // a whole message
  partial,   // some bytes; go on
  blocked,   // EAGAIN: wait until the socket is ready
};

// One peek and one read.
Result<Progress> receive(int socket, FrameReader& reader);
// One sendmsg(2), without SIGPIPE.
Result<Progress> send(int socket, FrameWriter& writer);

// For blocking sockets.
Result<Message> read_message(int socket, FrameReader& reader);
Result<void> write_message(int socket, std::string json, std::span<const int> descriptors = {});

}  // namespace cloister::varlink
