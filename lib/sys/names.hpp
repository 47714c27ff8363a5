// The kernel's numbers by their names: signals, errno, the si_code of SIGCHLD.
// One table each, read both ways. No locale, no allocation on the way in.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cloister::sys {

// "SIGTERM", "SIGRTMIN+3"; "" for a number that is no signal.
std::string signal_name(int number);
// By the names above, with or without "SIG", or "SIGRTMAX-n".
std::optional<int> signal_number(std::string_view name);

// "ENOENT"; "" for 0, "E1234" for a number without a name here.
std::string errno_name(int number);
// What it means, in plain words: "No such file or directory".
std::string_view errno_text(int number);

// CLD_*, "" for another number; waitid(2).
std::string_view child_code_name(int code);

}  // namespace cloister::sys
