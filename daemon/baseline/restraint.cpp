// A program with the set-uid bit gives whoever runs it the powers of its owner,
// long after the job that made it. So in a box no call makes one, whatever the
// path: chmod(2) and its kin, and what creates a file with a mode. open_tree(2)
// makes none, mkdir(2) and mknod(2) of a directory drop the bit, and chown(2)
// clears it.
//
// Two calls keep from a filter what they will do: openat2(2) has its mode behind
// a pointer, io_uring(7) makes calls that no filter sees. Both are missing, as
// on an older kernel, and programs take openat(2) and read(2).
//
// Written by hand, not by libseccomp: that of Debian 12 knows no fchmodat2(2).
#include "restraint.hpp"

#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <cerrno>
#include <cstddef>

namespace cloister::baseline {
namespace {

using plan::Instruction;
using plan::Restraint;

constexpr uint32_t kSetUid = 04000, kSetGid = 02000;
// O_CREAT, and what O_TMPFILE has beside O_DIRECTORY: the same on all of these.
constexpr uint32_t kCreates = 0100 | 020000000;
constexpr int kNone = -1;

struct Creator {
  const char* name;
  int mode;            // which argument
  int flags;           // which says whether the mode counts, or kNone: always
  int number = kNone;  // where the library has no name for it
};
constexpr Creator kCreators[] = {
    {"chmod", 1, kNone},
    {"fchmod", 1, kNone},
    {"fchmodat", 2, kNone},
    {"fchmodat2", 2, kNone, 452},  // Linux 6.6, one number for every architecture
    {"mknod", 1, kNone},
    {"mknodat", 2, kNone},
    {"creat", 1, kNone},
    {"open", 2, 1},
    {"openat", 3, 2}};
constexpr const char* kBlind[] = {"openat2", "io_uring_setup", "io_uring_enter",
                                  "io_uring_register"};
constexpr const char* kKeys[] = {"add_key", "request_key", "keyctl"};

// Each call has a block of its own, which ends it: no jump is longer than a block.
class Program {
 public:
  std::vector<Instruction> code;

  void step(unsigned what, uint32_t operand, uint8_t if_true = 0, uint8_t if_false = 0) {
    code.push_back({static_cast<uint16_t>(what), if_true, if_false, operand});
  }
  void load(size_t offset) { step(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
  // The low half: the kernel takes flags and mode for 32 bits and less.
  void load_argument(int index) {
    load(offsetof(seccomp_data, args) + 8 * static_cast<size_t>(index));
  }
  void answer(uint32_t action) { step(BPF_RET | BPF_K, action); }
  void refuse(int error) { answer(SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)); }

  void missing(int number) {
    step(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1);
    refuse(ENOSYS);
  }
  void create(int number, const Creator& call, uint32_t bits) {
    const bool always = call.flags == kNone;
    step(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, always ? 4 : 6);
    if (!always) {
      load_argument(call.flags);
      step(BPF_JMP | BPF_JSET | BPF_K, kCreates, 0, 3);  // to the ALLOW
    }
    load_argument(call.mode);
    step(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    refuse(EPERM);
    answer(SECCOMP_RET_ALLOW);
  }
};

// An ABI of this machine. x32 is that of x86_64 with a bit in its numbers, and
// has the same numbers for all that is here.
struct Abi {
  uint32_t library, kernel;
};
#if defined(__x86_64__)
constexpr Abi kAbis[] = {{SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64}, {SCMP_ARCH_X86, AUDIT_ARCH_I386}};
constexpr uint32_t kOfNumber = ~0x40000000u;  // __X32_SYSCALL_BIT
#else
constexpr Abi kAbis[] = {{SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64}, {SCMP_ARCH_ARM, AUDIT_ARCH_ARM}};
constexpr uint32_t kOfNumber = ~0u;
#endif

void govern(Program& program, const Abi& abi, Restraint restraint) {
  const auto number_of = [&](const char* name) {
    return seccomp_syscall_resolve_name_arch(abi.library, name);  // negative: not there
  };
  program.load(offsetof(seccomp_data, nr));
  if (kOfNumber != ~0u) program.step(BPF_ALU | BPF_AND | BPF_K, kOfNumber);
  for (const char* name : kBlind)
    if (const int number = number_of(name); number >= 0) program.missing(number);
  if (restraint == Restraint::leased)
    for (const char* name : kKeys)
      if (const int number = number_of(name); number >= 0) program.missing(number);
  const uint32_t bits = restraint == Restraint::set_uid ? kSetUid : kSetUid | kSetGid;
  for (const Creator& call : kCreators) {
    const int known = number_of(call.name), number = known >= 0 ? known : call.number;
    if (number >= 0) program.create(number, call, bits);
  }
  program.answer(SECCOMP_RET_ALLOW);
}

}  // namespace

std::vector<Instruction> restraint_program(Restraint restraint) {
  Program program;
  for (const Abi& abi : kAbis) {
    Program block;
    govern(block, abi, restraint);
    program.load(offsetof(seccomp_data, arch));
    program.step(BPF_JMP | BPF_JEQ | BPF_K, abi.kernel, 1, 0);
    program.step(BPF_JMP | BPF_JA, static_cast<uint32_t>(block.code.size()));
    program.code.insert(program.code.end(), block.code.begin(), block.code.end());
  }
  program.refuse(ENOSYS);  // an ABI that is not known here
  return program.code;
}

}  // namespace cloister::baseline
