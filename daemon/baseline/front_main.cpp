// Writes the filter of a front, out of daemon/front/calls.list, as a table that the
// front is compiled with. Run when the project is built, and never after.
//
//   cloister-front-filter CALLS_LIST
#include <seccomp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "program.hpp"

using namespace cloister;

namespace {

int failed(const std::string& what, int error) {
  std::fprintf(stderr, "front filter: %s: %s\n", what.c_str(), std::strerror(error));
  return 1;
}

struct Call {
  std::string name;
  std::string condition;  // ARG=VALUE, or empty
};

std::vector<Call> read_calls(std::istream& list) {
  std::vector<Call> calls;
  for (std::string line; std::getline(list, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;)
      if (word.find('=') == std::string::npos)
        calls.push_back({word, ""});
      else if (!calls.empty())
        calls.back().condition = word;
  }
  return calls;
}

int allow(scmp_filter_ctx filter, const Call& call) {
  const int number = seccomp_syscall_resolve_name(call.name.c_str());
  if (number == __NR_SCMP_ERROR || number < 0) return 0;  // not on this architecture
  if (call.condition.empty()) return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
  unsigned argument = 0;
  unsigned long long value = 0;
  if (std::sscanf(call.condition.c_str(), "%u=%llu", &argument, &value) != 2 || argument > 5)
    return -EINVAL;
  return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
                          SCMP_CMP(argument, SCMP_CMP_EQ, value));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return failed("which list?", EINVAL);
  std::ifstream list(argv[1]);
  if (!list) return failed(argv[1], errno);
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
  if (!filter) return failed("seccomp_init", ENOMEM);
  int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree
  for (const Call& call : read_calls(list)) {
    if (error == 0) error = allow(filter, call);
    if (error) return failed(call.name, -error);
  }
  std::vector<plan::Instruction> program;
  if ((error = baseline::export_program(filter, program))) return failed("the program", error);
  std::printf(
      "// Made by daemon/baseline of daemon/front/calls.list.\n"
      "#pragma once\n#include \"plan/plan.hpp\"\n"
      "namespace cloister::front {\n");
  baseline::write_program("kFrontFilter", program);
  std::printf("}  // namespace cloister::front\n");
  seccomp_release(filter);
}
