// Becoming the client: the one-way change between a spare front and the
// process that reads what a client writes. "From here: we are the client."
#pragma once

#include <cstdint>
#include <vector>

#include "plan/messages.hpp"

namespace cloister::front {

// What one connection can have us keep in memory: twice what the worst message
// takes. Of descriptors and pages beyond that the client has no more than it could
// have by itself.
inline constexpr uint64_t kMostMemory = 192u << 20;

// no_new_privs, limits, and the filter of calls.list: entered by each front before
// any connection. False with errno when the kernel refuses.
bool confine();

// Groups, gid, uid, capabilities, session keyring; then nobody of that uid may
// trace us. Verified by reading the ids back. False with errno.
bool become(const plan::Peer& peer, const std::vector<uint32_t>& groups);

}  // namespace cloister::front
