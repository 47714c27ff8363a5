// Writes the baseline filter (lib/plan/baseline.hpp) and those of restraint.cpp as
// tables that init is compiled with. Run when the project is built, and never after.
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "plan/baseline.hpp"
#include "restraint.hpp"

using namespace cloister;

namespace {

int failed(const char* what, int error) {
  std::fprintf(stderr, "baseline: %s: %s\n", what, std::strerror(error));
  return 1;
}

void write_program(const char* name, const std::vector<plan::Instruction>& program) {
  std::printf("inline constexpr plan::Instruction %s[] = {\n", name);
  for (const plan::Instruction& step : program)
    std::printf("    {%u, %u, %u, %uu},\n", unsigned{step.code}, unsigned{step.jump_true},
                unsigned{step.jump_false}, step.operand);
  std::printf("};\n");
}

}  // namespace

int main() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (!filter) return failed("seccomp_init", ENOMEM);
  // An ABI that is not known here is one that the baseline could not look into.
  int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  if (error == 0) error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  const uint32_t native = seccomp_arch_native();
  for (const uint32_t kin : {SCMP_ARCH_X86, SCMP_ARCH_X32})
    if (error == 0 && native == SCMP_ARCH_X86_64) error = seccomp_arch_add(filter, kin);
  if (error == 0 && native == SCMP_ARCH_AARCH64) error = seccomp_arch_add(filter, SCMP_ARCH_ARM);
  for (const char* name : plan::kBaselineRefused) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;  // older libraries: quotactl_fd
    if (error == 0) error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    if (error) return failed(name, -error);
  }
  if (error) return failed("the filter", -error);
  const int file = ::memfd_create("baseline", 0);
  if (file < 0 || (error = seccomp_export_bpf(filter, file)) < 0)
    return failed("export", file < 0 ? errno : -error);
  std::vector<plan::Instruction> program(static_cast<size_t>(::lseek(file, 0, SEEK_END)) /
                                         sizeof(plan::Instruction));
  const size_t bytes = program.size() * sizeof(plan::Instruction);
  if (program.empty() || program.size() > plan::kMaxInstructions ||
      ::pread(file, program.data(), bytes, 0) != static_cast<ssize_t>(bytes))
    return failed("the program", EIO);
  std::printf(
      "// Made by daemon/baseline.\n"
      "#pragma once\n#include \"plan/plan.hpp\"\n"
      "namespace cloister::init {\n");
  write_program("kBaselineProgram", program);
  write_program("kNoSetUid", baseline::restraint_program(plan::Restraint::set_uid));
  write_program("kNoSetIds", baseline::restraint_program(plan::Restraint::set_ids));
  write_program("kLeased", baseline::restraint_program(plan::Restraint::leased));
  std::printf("}  // namespace cloister::init\n");
  seccomp_release(filter);
  return 0;
}
