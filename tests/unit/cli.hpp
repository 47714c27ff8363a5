// A command line made a job, without a service.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "job.hpp"
#include "outcome.hpp"
#include "verbs.hpp"

namespace cloister::command::test {

inline const char* const kEnvironment[] = {
    "PATH=/usr/bin:/bin", "HOME=/home/u", "USER=u",     "LANG=C.UTF-8", "LC_ALL=C",
    "SECRET=s",           "EMPTY=",       "TERM=xterm", "=ODD=1",       "BYTES=\xff"};

struct Line {
  std::vector<std::string> words;
  std::vector<char*> pointers;
  CommandLine line;

  Line(const char* verb, std::vector<std::string> arguments) : words(std::move(arguments)) {
    for (std::string& word : words) pointers.push_back(word.data());
    for (const VerbInfo& info : verbs())
      if (std::string_view(info.name) == verb)
        line = parse(pointers, groups_of(info), info.operands);
  }
};

inline Surroundings around() {
  Surroundings around;
  around.environment = kEnvironment;
  around.directory = "/src/project";
  around.rows = 24;
  around.columns = 80;
  return around;
}

inline Job job_of(std::vector<std::string> arguments, Verb verb = Verb::run,
                  const Surroundings& where = around()) {
  const char* const names[] = {"run", "start", "plan"};
  const Line line(names[static_cast<int>(verb)], std::move(arguments));
  return prepare(line.line, verb, where);
}

inline std::string trouble_of(std::vector<std::string> arguments) {
  try {
    job_of(std::move(arguments));
  } catch (const Trouble& trouble) {
    return trouble.text;
  }
  return {};
}

inline bool says(const std::string& text, const char* part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE(text);
  return false;
}

struct File {
  std::string path = "/tmp/cloister-cli-XXXXXX";
  explicit File(const std::string& content) {
    ::close(::mkstemp(path.data()));
    std::ofstream(path, std::ios::binary) << content;
  }
  ~File() { ::unlink(path.c_str()); }
};

}  // namespace cloister::command::test
