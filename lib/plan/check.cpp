// Freestanding: init links this file too.
#include "checker.hpp"
#include "places.hpp"
#include "view.hpp"

namespace cloister::plan {
namespace {

class PlanChecker : public Checker {
 public:
  PlanChecker(const void* block, uint32_t bytes)
      : Checker(block, bytes, sizeof(Header)), plan_(block) {}

  // Every member of every structure, as schema.hpp says.
  void members(const void* of, const Struct& type) {
    for (uint32_t i = 0; i < type.count && flaw() == Flaw::none; ++i) member(of, type.members[i]);
  }

  // What two members are to each other.
  void agreements();

  void descriptors_are_there() { span(Span<Descriptor>(plan_->descriptors), kMaxDescriptors); }

 private:
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

  void list(Text place, const Member& member) {
    const Struct& element = *member.element;
    if (!lies_in_block(place.offset, place.length, element.size, member.high)) return;
    const auto* at = reinterpret_cast<const uint8_t*>(&plan_.header()) + place.offset;
    for (uint32_t i = 0; i < place.length && flaw() == Flaw::none; ++i, at += element.size)
      members(at, element);
  }

  void names(uint32_t index, Use use) {
    that(index < plan_->descriptors.count && plan_.at(plan_->descriptors, index).use == use,
         Flaw::descriptor);
  }

  template <class T, class Agrees>
  void each(Span<T> list, Agrees agrees) {
    for (uint32_t i = 0; i < list.count && flaw() == Flaw::none; ++i) agrees(plan_.at(list, i));
  }

  void map_ends(Span<IdMap> map) {
    each(map, [&](const IdMap& line) {
      that(line.inside <= UINT32_MAX - line.count && line.outside <= UINT32_MAX - line.count,
           Flaw::range);
    });
  }
  void mount_agrees(const Mount& mount);

  const View plan_;
};

void PlanChecker::mount_agrees(const Mount& mount) {
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

void PlanChecker::agreements() {
  const Header& h = plan_.header();
  that(h.argv.count > 0, Flaw::count);
  for (const NamespaceChoice& choice : h.namespaces)
    if (choice.join == Join::descriptor) names(choice.descriptor, Use::namespace_join);
  each(h.actions, [&](const Action& action) {
    if (action.op == Op::receive) names(action.descriptor, Use::payload);
    if (action.op == Op::capture) that(h.captures(action.fd), Flaw::range);
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
  PlanChecker is(block, plan->bytes);
  is.descriptors_are_there();  // before others name them
  is.members(block, schema::kHeader);
  if (is.flaw() == Flaw::none) is.agreements();
  return is.flaw();
}

}  // namespace cloister::plan
