// One program for everything that reads a stranger's bytes. CLOISTER_FUZZ_PART
// names the part that takes them; without it the first byte of an input says
// which part of the protocol does.
#include <cstring>

#include "fuzz.hpp"

namespace {

using namespace cloister::fuzz;

void protocol(Bytes input) {
  if (input.empty()) return;
  switch (input[0] % 3) {
    case 0: return framing(input.subspan(1));
    case 1: return text(input.subspan(1));
    case 2: return block(input.subspan(1));
  }
}

struct Part {
  const char* name;
  void (*take)(Bytes);
};
constexpr Part kParts[] = {
    {"protocol", protocol}, {"merge", merge}, {"policy", policy}, {"seccomp", seccomp}};

const Part* part = kParts;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* const wanted = std::getenv("CLOISTER_FUZZ_PART");
  if (!wanted) return 0;
  for (const Part& each : kParts)
    if (std::strcmp(each.name, wanted) == 0) {
      part = &each;
      return 0;
    }
  std::fprintf(stderr, "there is no part %s\n", wanted);
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  part->take(Bytes(data, size));
  return 0;
}
