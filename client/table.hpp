// Tables for people: columns as wide as their widest cell, safe for a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cloister::command {

class Table {
 public:
  explicit Table(std::vector<std::string> titles);  // no titles: no head line
  void add(std::vector<std::string> row);

  // Each line ends with a newline; the last column is not padded.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Without control characters, which a job's name or argv could bring into a
// terminal: each becomes '?'.
std::string printable(std::string_view text);

// The words of a command line, quoted where a shell would need it; cut to `most` bytes.
std::string command_line(const std::vector<std::string>& argv, size_t most);

// "4s", "12m", "3h", "2d" since an RFC 3339 time; "-" if it is none.
std::string age(std::string_view time, long long now);

}  // namespace cloister::command
