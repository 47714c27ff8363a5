// What the parts of the fuzz target share. Each part takes bytes of a stranger
// and checks what must hold of whatever is accepted; a check that fails traps,
// which libFuzzer reports with the input that did it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace cloister::fuzz {

using Bytes = std::span<const uint8_t>;

void framing(Bytes input);  // a stream in pieces, with descriptors
void text(Bytes input);     // a request, a profile, a call, a reply
void block(Bytes input);    // a Plan
void seccomp(Bytes input);  // a system call filter in its words
void merge(Bytes input);    // profiles and a request, one text a line
void policy(Bytes input);   // root's configuration

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace cloister::fuzz
