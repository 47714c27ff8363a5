#include "verdict.hpp"

#include <seccomp.h>

#include <cstdlib>

#include "varlink/render.hpp"

namespace cloister::front {
namespace {

struct Abi {
  uint32_t token;
  const char* name;
};
// As in /proc and uname(2).
constexpr Abi kAbis[] = {{SCMP_ARCH_X86_64, "x86_64"},   {SCMP_ARCH_X86, "i386"},
                         {SCMP_ARCH_X32, "x32"},         {SCMP_ARCH_AARCH64, "aarch64"},
                         {SCMP_ARCH_ARM, "arm"},         {SCMP_ARCH_RISCV64, "riscv64"},
                         {SCMP_ARCH_PPC64LE, "ppc64le"}, {SCMP_ARCH_S390X, "s390x"}};

}  // namespace

Verdict told_verdict(const plan::JobState& state, plan::View job) {
  Verdict verdict = varlink::make_verdict(state, job);
  if (!verdict.seccomp) return verdict;
  // x32 has the architecture of x86_64; a bit of the number tells.
  constexpr int kX32 = 0x40000000;
  const int number = state.record.seccomp_number;
  uint32_t token = state.record.seccomp_arch;
  if (token == SCMP_ARCH_X86_64 && number >= kX32) token = SCMP_ARCH_X32;
  for (const Abi& abi : kAbis)
    if (abi.token == token) verdict.seccomp->architecture = abi.name;
  if (char* const name = seccomp_syscall_resolve_num_arch(token, number)) {
    verdict.seccomp->syscall = name;
    std::free(name);
  }
  return verdict;
}

}  // namespace cloister::front
