// Script: what a hostile front is to do, for the `env` of a request. The acts
// are described in seal.cpp.
//
//   client.run(Script().set(&plan::Header::nice, -20).in(request));
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "plan/messages.hpp"

namespace cloister::hostile {

class Script {
 public:
  using Json = nlohmann::json;

  // Where a member lies in the header.
  template <class T>
  static size_t offset_of(T plan::Header::*member) {
    static const plan::Header header{};
    return static_cast<size_t>(reinterpret_cast<const char*>(&(header.*member)) -
                               reinterpret_cast<const char*>(&header));
  }

  template <class T>
  Script& set(T plan::Header::*member, const std::type_identity_t<T>& value) {
    return set_at(offset_of(member), value);
  }
  // `offset` is offsetof(plan::Header, ...).
  template <class T>
  Script& set_at(size_t offset, const T& value) {
    return act({{"act", "poke"}, {"offset", offset}, {"hex", hex(&value, sizeof value)}});
  }
  Script& text(plan::Text plan::Header::*member, const std::string& value) {
    return act({{"act", "text"}, {"offset", offset_of(member)}, {"value", value}});
  }
  Script& texts(plan::Span<plan::Text> plan::Header::*member,
                const std::vector<std::string>& values) {
    return act({{"act", "texts"}, {"offset", offset_of(member)}, {"values", values}});
  }
  template <class T>
  Script& list(plan::Span<T> plan::Header::*member, const std::vector<T>& elements) {
    return act({{"act", "span"},
                {"offset", offset_of(member)},
                {"hex", hex(elements.data(), elements.size() * sizeof(T))},
                {"count", elements.size()}});
  }
  Script& drop(std::vector<plan::MountKind> kinds) {
    Json numbers = Json::array();
    for (const plan::MountKind kind : kinds) numbers.push_back(static_cast<uint32_t>(kind));
    return act({{"act", "drop"}, {"kinds", numbers}});
  }
  // In every mount of this kind.
  template <class T>
  Script& in_mounts(plan::MountKind kind, size_t offset, const T& value) {
    return act({{"act", "mount"},
                {"kind", static_cast<uint32_t>(kind)},
                {"offset", offset},
                {"hex", hex(&value, sizeof value)}});
  }
  Script& bind(const std::string& source, const std::string& at, uint32_t flags) {
    return act({{"act", "add"},
                {"kind", static_cast<uint32_t>(plan::MountKind::bind)},
                {"open", source},
                {"at", at},
                {"flags", flags}});
  }
  Script& replace(uint32_t index, const std::string& path, int flags) {
    return act({{"act", "replace"}, {"index", index}, {"open", path}, {"flags", flags}});
  }
  Script& pass(plan::Use use, const std::string& path, int flags, size_t into,
               bool directory = false) {
    return act({{"act", "pass"},
                {"use", static_cast<uint32_t>(use)},
                {"open", path},
                {"flags", flags},
                {"into", into},
                {"directory", directory}});
  }
  Script& ask(const plan::Ask& ask, int times = 1) {
    return act({{"act", "ask"}, {"hex", hex(&ask, sizeof ask)}, {"times", times}});
  }
  Script& missing(const std::vector<long>& calls) {
    return act({{"act", "missing"}, {"calls", calls}});
  }
  Script& act(Json act) {
    acts_.push_back(std::move(act));
    return *this;
  }

  Json in(Json request) const {
    request["env"]["HOSTILE"] = acts_.dump();
    return request;
  }

 private:
  static std::string hex(const void* from, size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(from);
    std::string text;
    for (size_t i = 0; i < size; ++i) {
      text += "0123456789abcdef"[bytes[i] >> 4];
      text += "0123456789abcdef"[bytes[i] & 15];
    }
    return text;
  }

  Json acts_ = Json::array();
};

}  // namespace cloister::hostile
