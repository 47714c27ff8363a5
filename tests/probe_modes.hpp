// The acts of the probe other than reporting: how a payload ends, what it
// writes, what it tries to reach. One word each on its command line.
#pragma once

namespace cloister::probe {

// Runs the act that argv[1] names and gives the exit status; -1 if there is
// none of that name.
int act(int argc, char** argv);
// The same, of those about capabilities and Landlock.
int act_on_privileges(int argc, char** argv);

}  // namespace cloister::probe
