// Writes the baseline filter (lib/plan/baseline.hpp) and those of restraint.cpp as
// tables that are compiled into init. Runs only while the project is built.
#include <seccomp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "plan/baseline.hpp"
#include "program.hpp"
#include "restraint.hpp"

using namespace cloister;

namespace {

int failed(const char* what, int error) {
  std::fprintf(stderr, "baseline: %s: %s\n", what, std::strerror(error));
  return 1;
}

}  // namespace

int main() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (!filter) return failed("seccomp_init", ENOMEM);
  // Refuse the calls of every other ABI: no rule of the baseline would match them.
  int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  if (error == 0) error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  const uint32_t native = seccomp_arch_native();
  for (const uint32_t kin : {SCMP_ARCH_X86, SCMP_ARCH_X32})
    if (error == 0 && native == SCMP_ARCH_X86_64) error = seccomp_arch_add(filter, kin);
  if (error == 0 && native == SCMP_ARCH_AARCH64) error = seccomp_arch_add(filter, SCMP_ARCH_ARM);
  for (const char* name : plan::kBaselineRefused) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;  // unknown to older libraries: quotactl_fd
    if (error == 0) error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    if (error) return failed(name, -error);
  }
  if (error) return failed("the filter", -error);
  std::vector<plan::Instruction> program;
  if ((error = baseline::export_program(filter, program))) return failed("the program", error);
  std::printf(
      "// Made by daemon/baseline.\n"
      "#pragma once\n#include \"plan/plan.hpp\"\n"
      "namespace cloister::init {\n");
  baseline::write_program("kBaselineProgram", program);
  baseline::write_program("kNoSetUid", baseline::restraint_program(plan::Restraint::set_uid));
  baseline::write_program("kNoSetIds", baseline::restraint_program(plan::Restraint::set_ids));
  baseline::write_program("kLeased", baseline::restraint_program(plan::Restraint::leased));
  std::printf("}  // namespace cloister::init\n");
  seccomp_release(filter);
  return 0;
}
