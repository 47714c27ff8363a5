// Files that the command itself reads and writes, with the rights of its caller.
#pragma once

#include <string>
#include <string_view>

#include "cloister/unique_fd.hpp"

namespace cloister::command {

// Returns the content of a file, or of stdin if `path` is "-". Throws Trouble, also if
// there are more than 4 MiB.
std::string read_file(const std::string& path);

// open(2) with O_CLOEXEC and mode 0666. Throws Trouble that names `what`.
UniqueFd open_file(const std::string& path, int flags, const char* what);

// A pipe that poll(2) calls writable takes this much without blocking, pipe(7).
inline constexpr size_t kUnblockedWrite = 4096;

// Returns 0 if all of it was written, else an errno.
int write_all(int fd, std::string_view bytes);

// Writes to stdout. Throws Trouble if that fails, so that the command does not exit with
// success when the disk is full.
void print(std::string_view text);

}  // namespace cloister::command
