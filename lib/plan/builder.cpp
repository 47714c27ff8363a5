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

Builder::Builder() {
  // Offset sizeof(Header) holds a NUL: the empty string of every unset Text.
  body_.assign(8, '\0');
  begin(&header_, schema::kHeader, {sizeof(Header), 0});
}

Text Builder::text(std::string_view bytes) {
  if (bytes.empty()) return {sizeof(Header), 0};
  const auto offset = static_cast<uint32_t>(sizeof(Header) + body_.size());
  body_.append(bytes);
  body_.push_back('\0');
  return {offset, static_cast<uint32_t>(bytes.size())};
}

Span<Text> Builder::texts(std::span<const std::string> list) {
  std::vector<Text> entries;
  entries.reserve(list.size());
  for (const std::string& entry : list) entries.push_back(text(entry));
  return span(entries);
}

uint32_t Builder::append(const void* bytes, size_t size) {
  if (size == 0) return 0;
  body_.resize((body_.size() + 7) / 8 * 8);
  const auto offset = static_cast<uint32_t>(sizeof(Header) + body_.size());
  body_.append(static_cast<const char*>(bytes), size);
  return offset;
}

std::string Builder::finish() {
  header_.bytes = static_cast<uint32_t>(sizeof(Header) + body_.size());
  std::string block(reinterpret_cast<const char*>(&header_), sizeof(Header));
  block += body_;
  return block;
}

}  // namespace cloister::plan
