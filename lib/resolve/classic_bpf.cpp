#include "resolve/classic_bpf.hpp"

#include <linux/filter.h>

#include <cstring>

namespace cloister::front {

std::optional<uint32_t> answer_of(std::span<const plan::Instruction> program,
                                  const seccomp_data& call) {
  uint32_t a = 0, x = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const plan::Instruction& step = program[at];
    const uint32_t k = step.operand;
    bool holds = false;
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (k % 4 != 0 || k > sizeof call - 4) return std::nullopt;
        std::memcpy(&a, reinterpret_cast<const char*>(&call) + k, sizeof a);
        continue;
      case BPF_LD | BPF_IMM: a = k; continue;
      case BPF_LDX | BPF_IMM: x = k; continue;
      case BPF_MISC | BPF_TAX: x = a; continue;
      case BPF_MISC | BPF_TXA: a = x; continue;
      case BPF_ALU | BPF_AND | BPF_K: a &= k; continue;
      case BPF_ALU | BPF_OR | BPF_K: a |= k; continue;
      case BPF_ALU | BPF_ADD | BPF_K: a += k; continue;
      case BPF_ALU | BPF_SUB | BPF_K: a -= k; continue;
      case BPF_JMP | BPF_JA: at += k; continue;
      case BPF_JMP | BPF_JEQ | BPF_K: holds = a == k; break;
      case BPF_JMP | BPF_JGT | BPF_K: holds = a > k; break;
      case BPF_JMP | BPF_JGE | BPF_K: holds = a >= k; break;
      case BPF_JMP | BPF_JSET | BPF_K: holds = (a & k) != 0; break;
      case BPF_RET | BPF_K: return k;
      case BPF_RET | BPF_A: return a;
      default: return std::nullopt;
    }
    at += holds ? step.jump_true : step.jump_false;
  }
  return std::nullopt;
}

}  // namespace cloister::front
