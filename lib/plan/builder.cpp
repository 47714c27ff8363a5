#include "builder.hpp"

namespace cloister::plan {

namespace {

void put(void* of, const Member& member, uint64_t value) {
  std::memcpy(static_cast<uint8_t*>(of) + member.offset, &value, member.size);  // little-endian
}

// Each member as schema.hpp has it before anybody asks for anything.
void begin(void* of, const Struct& type, Text empty) {
  for (uint32_t i = 0; i < type.count; ++i) {
    const Member& member = type.members[i];
    if (member.holds == Holds::text)
      std::memcpy(static_cast<uint8_t*>(of) + member.offset, &empty, sizeof empty);
    else if (member.initial)
      put(of, member, member.initial);
  }
}

}  // namespace

Builder::Builder() { begin(&header(), schema::kHeader, kEmpty); }

void Builder::set(const Member& member, uint64_t value) { put(&header(), member, value); }

Span<Text> Builder::texts(std::span<const std::string> list) {
  std::vector<Text> entries;
  entries.reserve(list.size());
  for (const std::string& entry : list) entries.push_back(text(entry));
  return span(entries);
}

}  // namespace cloister::plan
