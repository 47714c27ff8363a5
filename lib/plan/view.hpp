// Reading a Plan: `check()` accepts or refuses a whole block, `View` reads one
// that was accepted. Used by the monitor and, without a C library, by init.
//
// After `check()` every offset, count, enumerator and range below is in
// bounds, every Text is followed by NUL and holds none, and every descriptor
// index names an entry of `descriptors`. Whether the request is *allowed* is
// not decided here.
#pragma once

#include "checker.hpp"
#include "plan.hpp"

namespace cloister::plan {

// A block that begins with a `Head`.
template <class Head>
class BlockView {
 public:
  explicit BlockView(const void* block) : base_(static_cast<const uint8_t*>(block)) {}

  const Head& header() const { return *reinterpret_cast<const Head*>(base_); }
  const Head* operator->() const { return &header(); }

  // NUL-terminated; lives as long as the block.
  const char* c_str(Text text) const { return reinterpret_cast<const char*>(base_ + text.offset); }

  template <class T>
  const T* begin(Span<T> span) const {
    return reinterpret_cast<const T*>(base_ + span.offset);
  }
  template <class T>
  const T& at(Span<T> span, uint32_t index) const {
    return begin(span)[index];
  }

 private:
  const uint8_t* base_;
};

using View = BlockView<Header>;

// Whether the monitor judges a descriptor by facts before it is used. Of the others no
// judgement is needed, because the client opened them with its own rights: either the
// payload stays in the namespace that they lead to, or init alone opens files through them.
inline bool needs_fact(const Header& header, const Descriptor& descriptor) {
  const auto apart = [&](Namespace which) {
    return header.namespaces[static_cast<uint32_t>(which)].join != Join::host;
  };
  const bool other_mounts = apart(Namespace::mnt);
  return descriptor.use == Use::namespace_join || descriptor.use == Use::writable_layer ||
         descriptor.use == Use::device || (descriptor.use == Use::cwd && other_mounts) ||
         (descriptor.use == Use::payload && (other_mounts || apart(Namespace::net)));
}

// Whether the monitor has to make a directory on disk for this job.
inline bool is_on_disk(const Mount& mount) {
  return mount.kind == MountKind::scratch && (mount.flags & kMountOnDisk) != 0;
}
inline bool needs_disk(View plan) {
  bool needs = false;
  for (uint32_t i = 0; i < plan->mounts.count; ++i) needs |= is_on_disk(plan.at(plan->mounts, i));
  return needs;
}

// `bytes` is the size of the sealed memfd. The block must be aligned to 8.
Flaw check(const void* block, size_t bytes) noexcept;

}  // namespace cloister::plan
