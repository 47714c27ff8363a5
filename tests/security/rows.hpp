// The rows of the security checklist: cases are named by the row that they
// hold to, "API-01 duplicate keys are refused at any depth". A row has one case
// or more. At its end the program prints one line a row: passed, failed, or not
// run and why. A row that was not run never counts as passed.
#pragma once

#include <string>

#include "reading.hpp"

namespace cloister::security_test {

using namespace system_test;

// What of the row of the case that runs now this program does not try. With
// SKIP in NOT_RUN: all of it.
void not_run(const std::string& reason);

// The sanitized build needs more memory and more time for the same.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr int kSanitizerFactor = 8;
#else
inline constexpr int kSanitizerFactor = 1;
#endif

}  // namespace cloister::security_test

// The body of a case whose row cannot be tried here.
#define NOT_RUN(reason) \
  do { \
    const std::string why = (reason); \
    ::cloister::security_test::not_run("not run: " + why); \
    SKIP(why); \
  } while (false)
