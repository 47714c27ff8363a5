// Files that the command itself reads and writes, as its caller.
#pragma once

#include <string>
#include <string_view>

#include "cloister/unique_fd.hpp"

namespace cloister::command {

// The whole of a file, "-" for stdin; more than 4 MiB is refused. Throws Trouble.
std::string read_file(const std::string& path);

// open(2) with O_CLOEXEC and mode 0666. Throws Trouble that names `what`.
UniqueFd open_file(const std::string& path, int flags, const char* what);

// errno, 0 if all of it was written.
int write_all(int fd, std::string_view bytes);

// To stdout; what cannot be written throws Trouble, so that a full disk is no success.
void print(std::string_view text);

}  // namespace cloister::command
