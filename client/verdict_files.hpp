// --verdict-file and --verdict-fd: write the verdict as JSON.
#pragma once

#include <vector>

#include "cloister/unique_fd.hpp"
#include "cloister/verdict.hpp"
#include "options.hpp"

namespace cloister::command {

class VerdictFiles {
 public:
  // Opens the files. To be called before the job is launched, so that a file that cannot
  // be opened prevents the launch. Throws Trouble.
  explicit VerdictFiles(const CommandLine& line);

  // Writes one line of JSON to each file. Throws Trouble.
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
