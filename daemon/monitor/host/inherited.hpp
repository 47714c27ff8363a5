// What a process has from the one that started it and keeps over fork(2) and
// execve(2): here it ends, so that no job has it from whoever started the service.
//
// Called first of all. What init sets for each payload anyway (ids, signals, mask,
// umask, limits, priority, scheduler, processors, personality, timer slack, OOM
// score, keyring, session, directories) is init's. Not to be taken back, and so
// left: no_new_privs, filters, a Landlock domain, PR_SET_MDWE, and what of the
// speculation controls is forced.
#pragma once

namespace cloister::monitor {

void leave_parent_behind();

}  // namespace cloister::monitor
