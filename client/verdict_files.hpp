// --verdict-file and --verdict-fd: where the verdict goes as JSON.
#pragma once

#include <vector>

#include "cloister/unique_fd.hpp"
#include "cloister/verdict.hpp"
#include "options.hpp"

namespace cloister::command {

class VerdictFiles {
 public:
  // Opens them, before anything is launched. Throws Trouble.
  explicit VerdictFiles(const CommandLine& line);

  // One line of JSON to each. Throws Trouble.
  void write(const Verdict& verdict) const;

 private:
  struct Place {
    std::string name;
    int fd;
  };
  std::vector<UniqueFd> opened_;
  std::vector<Place> places_;
};

}  // namespace cloister::command
