#include "builder.hpp"

namespace cloister::plan {

namespace {

// Each member as schema.hpp has it before anybody asks for anything.
void begin(void* of, const Struct& type, Text empty) {
  for (uint32_t i = 0; i < type.count; ++i) {
    const Member& member = type.members[i];
    auto* const at = static_cast<uint8_t*>(of) + member.offset;
    if (member.holds == Holds::text)
      std::memcpy(at, &empty, sizeof empty);
    else if (member.initial)
      std::memcpy(at, &member.initial, member.size);  // little-endian
  }
}

}  // namespace

Builder::Builder() { begin(&header(), schema::kHeader, kEmpty); }

Span<Text> Builder::texts(std::span<const std::string> list) {
  std::vector<Text> entries;
  entries.reserve(list.size());
  for (const std::string& entry : list) entries.push_back(text(entry));
  return span(entries);
}

}  // namespace cloister::plan
