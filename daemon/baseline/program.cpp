#include "program.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace cloister::baseline {

int export_program(scmp_filter_ctx filter, std::vector<plan::Instruction>& program) {
  const int file = ::memfd_create("filter", MFD_CLOEXEC);
  if (file < 0) return errno;
  int error = -seccomp_export_bpf(filter, file);
  const off_t bytes = error == 0 ? ::lseek(file, 0, SEEK_END) : 0;
  program.resize(static_cast<size_t>(bytes) / sizeof(plan::Instruction));
  if (error == 0 && (program.empty() || program.size() > plan::kMaxInstructions ||
                     ::pread(file, program.data(), static_cast<size_t>(bytes), 0) != bytes))
    error = EIO;
  ::close(file);
  return error;
}

void write_program(const char* name, const std::vector<plan::Instruction>& program) {
  std::printf("inline constexpr plan::Instruction %s[] = {\n", name);
  for (const plan::Instruction& step : program)
    std::printf("    {%u, %u, %u, %uu},\n", unsigned{step.code}, unsigned{step.jump_true},
                unsigned{step.jump_false}, step.operand);
  std::printf("};\n");
}

}  // namespace cloister::baseline
