// Freestanding: init links this file too.
#include "view.hpp"

#include <initializer_list>

#include "places.hpp"

namespace cloister::plan {
namespace {

class Checker {
 public:
  Checker(const void* block, uint32_t bytes)
      : base_(static_cast<const uint8_t*>(block)), bytes_(bytes) {}

  Flaw flaw() const { return flaw_; }

  bool that(bool holds, Flaw otherwise) {
    if (!holds && flaw_ == Flaw::none) flaw_ = otherwise;
    return holds;
  }

  template <class T>
  bool span(Span<T> span, uint32_t most) {
    if (!that(span.count <= most, Flaw::count)) return false;
    if (span.count == 0) return true;
    const uint64_t end = span.offset + uint64_t{span.count} * sizeof(T);
    return that(span.offset % 8 == 0 && span.offset >= sizeof(Header) && end <= bytes_, Flaw::span);
  }

  // A zero Text is the empty string: byte 0 of a block is never NUL, so it
  // must still point at one.
  bool text(Text text, uint32_t most) {
    if (!that(text.length < most, Flaw::count)) return false;
    const uint64_t end = uint64_t{text.offset} + text.length;
    if (!that(text.offset >= sizeof(Header) && end < bytes_, Flaw::text)) return false;
    for (uint64_t i = text.offset; i < end; ++i)
      if (!that(base_[i] != 0, Flaw::text)) return false;
    return that(base_[end] == 0, Flaw::text);
  }

  template <class Enum>
  bool one_of(Enum value) {
    return that(static_cast<uint32_t>(value) < static_cast<uint32_t>(Enum::count_), Flaw::range);
  }

  bool range(int64_t value, int64_t low, int64_t high) {
    return that(value >= low && value <= high, Flaw::range);
  }

 private:
  const uint8_t* base_;
  uint64_t bytes_;
  Flaw flaw_ = Flaw::none;
};

void check_texts(Checker& is, const View& plan) {
  const Header& h = plan.header();
  for (Text name : {h.profile, h.name, h.idempotency_key}) is.text(name, kMaxName + 1);
  for (Text json : {h.request_json, h.degraded}) is.text(json, kMaxBytes);
  is.text(h.executable, kMaxPath);
  is.text(h.cwd, kMaxPath);
  is.text(h.search, kMaxArgumentBytes);
  is.text(h.hostname, kMaxHostname + 1);
  is.text(h.domainname, kMaxHostname + 1);
  for (Span<Text> list : {h.argv, h.env}) {
    if (!is.span(list, kMaxArguments)) return;
    for (uint32_t i = 0; i < list.count; ++i)
      if (!is.text(plan.at(list, i), kMaxArgumentBytes)) return;
  }
  is.that(h.argv.count > 0, Flaw::count);
}

void check_map(Checker& is, const View& plan, Span<IdMap> map) {
  if (!is.span(map, kMaxMapLines)) return;
  for (uint32_t i = 0; i < map.count; ++i) {
    const IdMap& line = plan.at(map, i);
    is.that(line.count > 0 && line.inside <= UINT32_MAX - line.count &&
                line.outside <= UINT32_MAX - line.count,
            Flaw::range);
  }
}

void check_descriptors(Checker& is, const View& plan) {
  const Header& h = plan.header();
  if (!is.span(h.descriptors, kMaxDescriptors)) return;
  for (uint32_t i = 0; i < h.descriptors.count; ++i) is.one_of(plan.at(h.descriptors, i).use);
  const auto names = [&](uint32_t index, Use use) {
    return is.that(index < h.descriptors.count && plan.at(h.descriptors, index).use == use,
                   Flaw::descriptor);
  };
  if (is.flaw() != Flaw::none) return;
  if (h.executable_descriptor != kNone) names(h.executable_descriptor, Use::executable);
  if (h.cwd_descriptor != kNone) names(h.cwd_descriptor, Use::cwd);
  for (const NamespaceChoice& choice : h.namespaces)
    if (is.one_of(choice.join) && choice.join == Join::descriptor)
      names(choice.descriptor, Use::namespace_join);

  if (!is.span(h.actions, kMaxActions)) return;
  for (uint32_t i = 0; i < h.actions.count; ++i) {
    const Action& action = plan.at(h.actions, i);
    if (!is.one_of(action.op)) return;
    is.text(action.path, kMaxPath);
    is.range(action.fd, 0, kMaxFd);
    is.range(action.new_fd, 0, kMaxFd);
    is.range(action.mode, 0, 07777);
    if (action.op == Op::receive) names(action.descriptor, Use::payload);
  }

  if (!is.span(h.mounts, kMaxMounts)) return;
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    const Mount& mount = plan.at(h.mounts, i);
    if (!is.one_of(mount.kind)) return;
    is.range(mount.flags, 0, kMountAllFlags);
    is.that(!(mount.flags & kMountOnDisk) || mount.kind == MountKind::scratch, Flaw::range);
    is.range(mount.mode, 0, 07777);
    if (!is.text(mount.at, kMaxPath)) return;
    if (!is.that(is_place(plan.c_str(mount.at)), Flaw::text)) return;
    is.text(mount.source, kMaxPath);
    is.text(mount.data, kMaxPath);
    if (mount.kind == MountKind::bind) names(mount.descriptor, Use::mount);
    if (mount.kind == MountKind::device) names(mount.descriptor, Use::device);
    if (mount.kind == MountKind::file || mount.kind == MountKind::secret)
      names(mount.descriptor, Use::content);
    if (!is.span(mount.layers, kMaxLayers)) return;
    is.that((mount.kind == MountKind::overlay) == (mount.layers.count != 0), Flaw::count);
    for (uint32_t k = 0; k < mount.layers.count; ++k) {
      const Layer& layer = plan.at(mount.layers, k);
      if (!is.one_of(layer.role)) return;
      names(layer.descriptor, layer.role == LayerRole::lower ? Use::mount : Use::writable_layer);
      is.text(layer.source, kMaxPath);
    }
    check_map(is, plan, mount.uid_map);
    check_map(is, plan, mount.gid_map);
  }
}

void check_numbers(Checker& is, const View& plan) {
  const Header& h = plan.header();
  is.range(h.flags, 0, kAllFlags);
  is.range(static_cast<uint32_t>(h.method), 0, static_cast<uint32_t>(Method::plan_only));
  is.range(h.umask, 0, 0777);
  is.range(h.nice, -20, 19);
  is.range(h.oom_score_adj, -1000, 1000);
  is.range(h.controlling_fd, -1, kMaxFd);
  is.range(h.rows, 0, UINT16_MAX);
  is.range(h.columns, 0, UINT16_MAX);
  is.range(h.scheduler.set, 0, kHasPolicy | kHasParameters | kResetOnFork);
  is.range(h.scheduler.priority, 0, 99);
  is.range(h.stop_signal, 1, 64);
  is.one_of(h.on_disconnect);
  is.that(h.stop_timeout_ms <= kMaxTimeoutMs && h.setup_timeout_ms <= kMaxTimeoutMs, Flaw::range);
  is.that(h.unshare <= INT32_MAX, Flaw::range);
  is.range(h.id_choices, 0, kAllIdChoices);
  is.that(!(h.id_choices & kSubordinateUids) || h.uid_map.count == 0, Flaw::count);
  is.that(!(h.id_choices & kSubordinateGids) || h.gid_map.count == 0, Flaw::count);
  const Identity& id = h.identity;
  for (uint32_t value : {id.ruid, id.euid, id.suid, id.rgid, id.egid, id.sgid})
    is.that(value != kNone, Flaw::range);
  if (is.span(id.groups, kMaxGroups))
    for (uint32_t i = 0; i < id.groups.count; ++i)
      is.that(plan.at(id.groups, i) != kNone, Flaw::range);
  check_map(is, plan, h.uid_map);
  check_map(is, plan, h.gid_map);
  is.range(h.caller_cgroup, 0, 1);
  const Capabilities& sets = h.capabilities;
  is.range(sets.set, 0, 1);
  is.range(sets.securebits, 0, 0xff);
  is.that(sets.set || !(sets.bounding | sets.effective | sets.permitted | sets.inheritable |
                        sets.ambient | sets.securebits),
          Flaw::range);
  if (is.span(h.landlock.paths, kMaxLandlockPaths))
    for (uint32_t i = 0; i < h.landlock.paths.count; ++i)
      is.text(plan.at(h.landlock.paths, i).path, kMaxPath);
  for (Span<uint32_t> ports : {h.landlock.bind_tcp, h.landlock.connect_tcp})
    if (is.span(ports, kMaxLandlockPorts))
      for (uint32_t i = 0; i < ports.count; ++i) is.range(plan.at(ports, i), 0, UINT16_MAX);
  for (const Rlimit& limit : h.rlimits) is.that(limit.soft <= limit.hard, Flaw::range);
  // What the instructions mean, and whether they may follow each other so, the
  // kernel checks when it loads them, seccomp(2).
  is.span(h.seccomp, kMaxInstructions);
  is.range(h.seccomp_flags, 0, kAllFilterFlags);
  is.that(h.seccomp.count > 0 || h.seccomp_flags == 0, Flaw::range);
  if (is.span(h.sysctls, kMaxSysctls))
    for (uint32_t i = 0; i < h.sysctls.count; ++i) {
      is.text(plan.at(h.sysctls, i).path, kMaxPath);
      is.text(plan.at(h.sysctls, i).value, kMaxPath);
    }
  if (is.span(h.published, kMaxPublished))
    for (uint32_t i = 0; i < h.published.count; ++i) {
      const Published& port = plan.at(h.published, i);
      is.that(port.family == kInet || port.family == kInet6, Flaw::range);
      is.range(port.udp, 0, 1);
      is.range(port.port, 1, UINT16_MAX);
      is.range(port.host_port, 1, UINT16_MAX);
    }
  if (is.span(h.tags, kMaxTags))
    for (uint32_t i = 0; i < h.tags.count; ++i) {
      is.text(plan.at(h.tags, i).key, kMaxName + 1);
      is.text(plan.at(h.tags, i).value, kMaxName + 1);
    }
}

}  // namespace

Flaw check(const void* block, size_t bytes) noexcept {
  if (bytes < sizeof(Header) || bytes > kMaxBytes) return Flaw::size;
  const View plan(block);
  if (plan->magic != kMagic) return Flaw::magic;
  if (plan->version != kVersion) return Flaw::version;
  if (plan->bytes != bytes) return Flaw::size;
  Checker is(block, plan->bytes);
  check_texts(is, plan);
  if (is.flaw() == Flaw::none) check_descriptors(is, plan);
  if (is.flaw() == Flaw::none) check_numbers(is, plan);
  return is.flaw();
}

}  // namespace cloister::plan
