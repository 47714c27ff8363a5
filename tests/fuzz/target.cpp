// One target for everything that reads a stranger's bytes: the first byte of
// an input says which part takes the rest.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::fuzz;
  if (size == 0) return 0;
  const Bytes rest(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0: framing(rest); break;
    case 1: text(rest); break;
    case 2: block(rest); break;
  }
  return 0;
}
