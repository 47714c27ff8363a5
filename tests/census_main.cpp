// census: prints a census, or compares one with an earlier one.
//
//   census [SCOPE...]                  print
//   census [SCOPE...] --compare FILE   wait up to 5 s until all is as in FILE;
//                                      exit status 1 and the difference if not
//
// SCOPE: --under PID, --user UID, --process PID, --path DIRECTORY, --word WORD
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "census.hpp"

int main(int argc, char** argv) {
  namespace census = cloister::census;
  census::Scope scope;
  std::string compare;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (value && option == "--under") {
      scope.ancestor = std::atoi(value);
    } else if (value && option == "--user") {
      scope.users.push_back(static_cast<uid_t>(std::atoll(value)));
    } else if (value && option == "--process") {
      scope.processes.push_back(std::atoi(value));
    } else if (value && option == "--path") {
      scope.paths.emplace_back(value);
    } else if (value && option == "--word") {
      scope.word = value;
    } else if (value && option == "--compare") {
      compare = value;
    } else {
      std::fprintf(stderr, "census: cannot use %s\n", argv[i]);
      return 2;
    }
  }
  if (compare.empty()) {
    std::fputs(census::to_text(census::take(scope)).c_str(), stdout);
    return 0;
  }
  std::ifstream in(compare);
  if (!in) {
    std::fprintf(stderr, "census: cannot read %s\n", compare.c_str());
    return 2;
  }
  std::ostringstream text;
  text << in.rdbuf();
  const std::string left = census::settle(census::from_text(text.str()), scope);
  std::fputs(left.c_str(), stdout);
  return left.empty() ? 0 : 1;
}
