#include "life/kept.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>

#include "admit/fronts.hpp"
#include "life/mapped_plan.hpp"
#include "plan/builder.hpp"

namespace cloister::monitor {
namespace {

constexpr uint32_t kPage = 4096;
// What List shows of argv, lib/varlink/render.cpp.
constexpr uint32_t kMostArguments = 32, kMostOfArgument = 256;

uint64_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

uint64_t hash_of_tag(std::string_view key, std::string_view value) {
  std::string both(key);
  return hash_of(both.append(1, '\0').append(value));
}

// Names and figures; no request, no mounts, no environment.
std::string cut_down(plan::View whole) {
  plan::Builder cut;
  cut->method = whole->method;
  cut->request_digest = whole->request_digest;
  cut->parse_us = whole->parse_us;
  cut->resolve_us = whole->resolve_us;
  cut->profile = cut.text(text_of(whole, whole->profile));
  cut->name = cut.text(text_of(whole, whole->name));
  if (whole->degraded.length < kPage) cut->degraded = cut.text(text_of(whole, whole->degraded));
  std::vector<plan::Tag> tags;
  for (uint32_t i = 0; i < whole->tags.count; ++i) {
    const plan::Tag& tag = whole.at(whole->tags, i);
    tags.push_back({cut.text(text_of(whole, tag.key)), cut.text(text_of(whole, tag.value))});
  }
  cut->tags = cut.span(tags);
  std::vector<std::string> argv;
  for (uint32_t i = 0; i < whole->argv.count && i < kMostArguments; ++i)
    argv.emplace_back(text_of(whole, whole.at(whole->argv, i)).substr(0, kMostOfArgument));
  cut->argv = cut.texts(argv);
  return cut.finish();
}

}  // namespace

uint32_t bytes_of_plan(uint32_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

Labels::Labels(plan::View plan) : digest(plan->request_digest) {
  if (plan->idempotency_key.length > 0) key = hash_of(text_of(plan, plan->idempotency_key)) | 1;
  for (uint32_t i = 0; i < plan->tags.count; ++i) {
    const plan::Tag& tag = plan.at(plan->tags, i);
    tags.push_back(hash_of_tag(text_of(plan, tag.key), text_of(plan, tag.value)));
  }
}

bool Labels::tagged(const plan::Ask& ask) const {
  const uint64_t wanted =
      hash_of_tag({ask.tag_key, ::strnlen(ask.tag_key, sizeof ask.tag_key)},
                  {ask.tag_value, ::strnlen(ask.tag_value, sizeof ask.tag_value)});
  for (const uint64_t tag : tags)
    if (tag == wanted) return true;
  return false;
}

uint32_t Kept::cut(uint32_t bytes) {
  void* block = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, plan_.borrow(), 0);
  if (block == MAP_FAILED) return bytes;
  const std::string less = cut_down(plan::View(block));
  ::munmap(block, bytes);
  sys::UniqueFd memfd = new_plan();
  const auto size = static_cast<ssize_t>(less.size());
  // Fronts of others who may see the job get it too.
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (!memfd || ::write(memfd.borrow(), less.data(), less.size()) != size ||
      ::fcntl(memfd.borrow(), F_ADD_SEALS, kSeals) < 0)
    return bytes;
  plan_ = std::move(memfd);
  return bytes_of_plan(static_cast<uint32_t>(size));
}

}  // namespace cloister::monitor
