// What every C++ test of the project includes instead of doctest itself.
//
// Link `outcome_dep` (tests/meson.build): it brings main() and prints one line
// a case, `ok NAME`, `FAILED NAME` or `skipped NAME (reason)`, and at the end
// the line that tests/run.sh adds up:
//
//   outcome: N passed, N failed, N skipped
#pragma once

#include <doctest/doctest.h>

#include <string>

namespace cloister::outcome {

// The case that runs now cannot run on this machine, and why. Only SKIP calls it.
void skip(std::string reason);

}  // namespace cloister::outcome

// Leaves the case. To be used in the body of a case, before its first check:
// a case that failed anywhere counts as failed, skipped or not.
#define SKIP(reason) \
  do { \
    ::cloister::outcome::skip(reason); \
    return; \
  } while (false)
