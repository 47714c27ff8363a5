#include "builder.hpp"

namespace cloister::plan {

Builder::Builder() {
  // Offset sizeof(Header) holds a NUL: the empty string of every unset Text.
  body_.assign(8, '\0');
  const Text empty{sizeof(Header), 0};
  header_.magic = kMagic;
  header_.version = kVersion;
  for (Text* text : {&header_.profile, &header_.name, &header_.idempotency_key,
                     &header_.request_json, &header_.degraded, &header_.executable, &header_.search,
                     &header_.cwd, &header_.hostname, &header_.domainname})
    *text = empty;
  header_.executable_descriptor = kNone;
  header_.cwd_descriptor = kNone;
  header_.controlling_fd = -1;
  header_.stop_signal = 15;
  header_.signal_default = UINT64_MAX;
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
