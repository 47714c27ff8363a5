// What the command exits with, and the names of exit codes. sysexits(3h).
#pragma once

#include <string>

#include "cloister/error.hpp"
#include "cloister/verdict.hpp"

namespace cloister::command {

// Whatever went wrong that was not the payload: the command line, no service, a
// refusal, a launch that failed before exec.
inline constexpr int kFailed = 125;
// `wait --no-hang`: there is nothing to report yet. EX_TEMPFAIL.
inline constexpr int kNothingYet = 75;

// "EX_USAGE" for 64 to 78, else "".
const char* exit_code_name(int code);

// The one line for a person: "exited with 64 (EX_USAGE) after 0.012 s".
std::string line_of(const Verdict& verdict);

// A job that never came to be: the verdict files say so in the same form.
Verdict not_started(std::string why, Cause cause, Fault fault);
Verdict verdict_of(const Error& error, Mode mode);

// "cloister: TEXT" on stderr.
void complain(const std::string& text);

}  // namespace cloister::command
