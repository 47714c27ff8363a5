// Who the client may be: the user namespace of what a job leaves acting for it.
//
// An overlay acts below itself with the credentials of who made it. Init makes
// it in a user namespace that has the ids below, each as itself, and so no power
// over anybody else's files. Numbers against numbers, as all of authorise().
#pragma once

#include "decide/authorise_ids.hpp"

namespace cloister::monitor {

// Its own ids and groups, or each id there is with CAP_SETUID and CAP_SETGID; those
// that its request runs as and maps, and what is leased. `ids` is decided and the
// plan approved. Groups that a map has no room for are left out.
IdMaps client_ids(const Peer& peer, plan::View plan, const IdDecision& ids);

// Bits of capabilities(7) over the files of those ids: what their owners may do.
uint64_t client_powers(const Peer& peer, const IdMaps& client);

}  // namespace cloister::monitor
