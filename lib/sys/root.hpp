// Whether this process can do what root does: judged by its capabilities, and
// by what they count for, not by the number of its uid.
#pragma once

namespace cloister::sys {

// The powers over ids and mounts, in a user namespace that owns the mount
// namespace too. uid 0 of a new user namespace alone has neither the mounts nor,
// as a rule, setgroups(2), user_namespaces(7): it is an ordinary user who needs
// a user namespace around what it makes.
//
// Asked once; later the process may have given its powers up.
bool is_root();

// The owner of a file: root. Where we are uid 0 of a user namespace the host's
// root has no number, and is seen as 65534 with all others that have none.
bool is_roots(unsigned owner);

}  // namespace cloister::sys
