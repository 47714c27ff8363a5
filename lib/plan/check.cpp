// Freestanding: init links this file too.
#include "places.hpp"
#include "view.hpp"

namespace cloister::plan {
namespace {

class Checker {
 public:
  Checker(const void* block, uint32_t bytes) : plan_(block), bytes_(bytes) {}

  Flaw flaw() const { return flaw_; }

  // Every member of every structure, as schema.hpp says.
  void members(const void* of, const Struct& type) {
    for (uint32_t i = 0; i < type.count && flaw_ == Flaw::none; ++i) member(of, type.members[i]);
  }

  // What two members are to each other.
  void agreements();

  void descriptors_are_there() { span(Span<Descriptor>(plan_->descriptors), kMaxDescriptors); }

 private:
  bool that(bool holds, Flaw otherwise) {
    if (!holds && flaw_ == Flaw::none) flaw_ = otherwise;
    return holds;
  }

  void member(const void* of, const Member& member) {
    const auto* const at = static_cast<const uint8_t*>(of) + member.offset;
    switch (member.holds) {
      case Holds::number: that(is_within(member, value_of(member, of)), Flaw::range); break;
      case Holds::flags: that((value_of(member, of) & ~member.high) == 0, Flaw::range); break;
      case Holds::reserved: that(value_of(member, of) == 0, Flaw::range); break;
      case Holds::text: text(place_of(member, of), member.high); break;
      case Holds::list: list(place_of(member, of), member); break;
      case Holds::block:
        for (uint32_t i = 0; i < member.count; ++i)
          members(at + size_t{i} * member.element->size, *member.element);
        break;
      case Holds::descriptor: {
        const auto index = static_cast<uint32_t>(value_of(member, of));
        if (index != kNone) names(index, member.use);
        break;
      }
      case Holds::anything: break;
    }
  }

  // A zero Text is the empty string: byte 0 of a block is never NUL, so it
  // must still point at one.
  void text(Text text, uint64_t most) {
    if (!that(text.length <= most, Flaw::count)) return;
    const uint64_t end = uint64_t{text.offset} + text.length;
    if (!that(text.offset >= sizeof(Header) && end < bytes_, Flaw::text)) return;
    const auto* const bytes = reinterpret_cast<const uint8_t*>(&plan_.header());
    for (uint64_t i = text.offset; i < end; ++i)
      if (!that(bytes[i] != 0, Flaw::text)) return;
    that(bytes[end] == 0, Flaw::text);
  }

  bool lies_in_block(uint32_t offset, uint32_t count, uint32_t size, uint64_t most) {
    if (!that(count <= most, Flaw::count)) return false;
    if (count == 0) return true;
    const uint64_t end = offset + uint64_t{count} * size;
    return that(offset % 8 == 0 && offset >= sizeof(Header) && end <= bytes_, Flaw::span);
  }
  template <class T>
  bool span(Span<T> span, uint64_t most) {
    return lies_in_block(span.offset, span.count, sizeof(T), most);
  }

  void list(Text place, const Member& member) {
    const Struct& element = *member.element;
    if (!lies_in_block(place.offset, place.length, element.size, member.high)) return;
    const auto* at = reinterpret_cast<const uint8_t*>(&plan_.header()) + place.offset;
    for (uint32_t i = 0; i < place.length && flaw_ == Flaw::none; ++i, at += element.size)
      members(at, element);
  }

  void names(uint32_t index, Use use) {
    that(index < plan_->descriptors.count && plan_.at(plan_->descriptors, index).use == use,
         Flaw::descriptor);
  }

  template <class T, class Agrees>
  void each(Span<T> list, Agrees agrees) {
    for (uint32_t i = 0; i < list.count && flaw_ == Flaw::none; ++i) agrees(plan_.at(list, i));
  }

  void map_ends(Span<IdMap> map) {
    each(map, [&](const IdMap& line) {
      that(line.inside <= UINT32_MAX - line.count && line.outside <= UINT32_MAX - line.count,
           Flaw::range);
    });
  }
  void mount_agrees(const Mount& mount);

  const View plan_;
  const uint64_t bytes_;
  Flaw flaw_ = Flaw::none;
};

void Checker::mount_agrees(const Mount& mount) {
  const MountTraits& traits = traits_of(mount.kind);
  that(!(mount.flags & kMountOnDisk) || mount.kind == MountKind::scratch, Flaw::range);
  if (!that(is_place(plan_.c_str(mount.at)), Flaw::text)) return;
  if (traits.use != Use::none) names(mount.descriptor, traits.use);
  that((mount.kind == MountKind::overlay) == (mount.layers.count != 0), Flaw::count);
  each(mount.layers, [&](const Layer& layer) {
    names(layer.descriptor, layer.role == LayerRole::lower ? Use::mount : Use::writable_layer);
  });
  map_ends(mount.uid_map);
  map_ends(mount.gid_map);
}

void Checker::agreements() {
  const Header& h = plan_.header();
  that(h.argv.count > 0, Flaw::count);
  for (const NamespaceChoice& choice : h.namespaces)
    if (choice.join == Join::descriptor) names(choice.descriptor, Use::namespace_join);
  each(h.actions, [&](const Action& action) {
    if (action.op == Op::receive) names(action.descriptor, Use::payload);
  });
  each(h.mounts, [&](const Mount& mount) { mount_agrees(mount); });
  map_ends(h.uid_map);
  map_ends(h.gid_map);
  that(!(h.id_choices & kSubordinateUids) || h.uid_map.count == 0, Flaw::count);
  that(!(h.id_choices & kSubordinateGids) || h.gid_map.count == 0, Flaw::count);
  for (const Rlimit& limit : h.rlimits) that(limit.soft <= limit.hard, Flaw::range);
  const Capabilities& sets = h.capabilities;
  that(sets.set || !(sets.bounding | sets.effective | sets.permitted | sets.inheritable |
                     sets.ambient | sets.securebits),
       Flaw::range);
  that(h.seccomp.count > 0 || h.seccomp_flags == 0, Flaw::range);
  each(h.published, [&](const Published& port) {
    that(port.family == kInet || port.family == kInet6, Flaw::range);
  });
}

}  // namespace

Flaw check(const void* block, size_t bytes) noexcept {
  if (bytes < sizeof(Header) || bytes > kMaxBytes) return Flaw::size;
  const View plan(block);
  if (plan->magic != kMagic) return Flaw::magic;
  if (plan->version != kVersion) return Flaw::version;
  if (plan->bytes != bytes) return Flaw::size;
  Checker is(block, plan->bytes);
  is.descriptors_are_there();  // before others name them
  is.members(block, schema::kHeader);
  if (is.flaw() == Flaw::none) is.agreements();
  return is.flaw();
}

}  // namespace cloister::plan
