// Writing the id maps of an init in a new user namespace; user_namespaces(7).
//
// Root may write any. A user may write its own id alone, and for more has to ask
// newuidmap(1) and newgidmap(1), which are set-uid and know subuid(5).
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <functional>

#include "host/id_maps.hpp"
#include "plan/record.hpp"

namespace cloister::monitor {

struct IdMapping {
  pid_t init;  // our own unreaped child
  uid_t uid;   // of its creator
  gid_t gid;
  IdMaps maps;
  bool deny_setgroups;
};

// `done` is called once, with `error` 0 when the kernel has exactly these lines;
// maybe before this returns. A failure with an index comes from the program that
// was asked: 0 for uids, 1 for gids; ENOENT when it is not installed.
void write_id_maps(boost::asio::io_context& io, IdMapping mapping,
                   std::function<void(const plan::Failure&)> done);

}  // namespace cloister::monitor
