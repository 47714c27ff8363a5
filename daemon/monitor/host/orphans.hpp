// Orphans: processes of jobs that came to the monitor because their init, or
// their network process, was killed before them.
//
// The monitor is a subreaper, so that nothing of a job gets out of its reach.
// A child that spawn() has not made, and that was not there at the start, is one.
#pragma once

namespace cloister::monitor {

// Call once, before the first spawn(). False with errno.
bool adopt_orphans();

// Kills and reaps them. False when there was one that was not dead yet: call again
// a moment later.
bool end_orphans();

}  // namespace cloister::monitor
