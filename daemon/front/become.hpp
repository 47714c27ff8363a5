// Becoming the client: the one-way change between a spare front and the
// process that reads what a client writes. "From here: we are the client."
#pragma once

#include <cstdint>
#include <vector>

#include "plan/messages.hpp"

namespace cloister::front {

// Before any connection: no_new_privs, limits, and a filter without the system
// calls that no front needs. False with errno when the kernel refuses.
bool confine();

// Groups, gid, uid, capabilities, session keyring; then nobody of that uid may
// trace us. Verified by reading the ids back. False with errno.
bool become(const plan::Peer& peer, const std::vector<uint32_t>& groups);

}  // namespace cloister::front
