// plan::check(), and then what is done with a Plan that it has accepted: the
// monitor judges it, init walks it, a front renders it for whoever asks.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "decide/authorise.hpp"
#include "fuzz.hpp"
#include "plan/builder.hpp"
#include "plan/view.hpp"
#include "varlink/envelope.hpp"
#include "varlink/render.hpp"

namespace cloister::fuzz {
namespace {

using plan::Text;
using plan::View;

// Reads all that init could read, row by row of plan/schema.hpp.
class Walk {
 public:
  explicit Walk(View plan) : plan_(plan) {}

  void members(const void* of, const plan::Struct& type) {
    for (uint32_t i = 0; i < type.count; ++i) member(of, type.members[i]);
  }
  void names(uint32_t index, plan::Use use) {
    require(index < plan_->descriptors.count && plan_.at(plan_->descriptors, index).use == use,
            "a descriptor that is named is there, for this use");
  }

 private:
  void member(const void* of, const plan::Member& member) {
    const auto* const at = static_cast<const uint8_t*>(of) + member.offset;
    switch (member.holds) {
      case plan::Holds::text: {
        const Text place = plan::place_of(member, of);
        require(std::strlen(plan_.c_str(place)) == place.length && place.length <= member.high,
                "a text has its length and no NUL inside");
        break;
      }
      case plan::Holds::list: {
        const Text place = plan::place_of(member, of);
        require(place.length <= member.high, "a list has at most so many");
        for (uint32_t i = 0; i < place.length; ++i)
          members(plan_.c_str(place) + size_t{i} * member.element->size, *member.element);
        break;
      }
      case plan::Holds::block:
        for (uint32_t i = 0; i < member.count; ++i)
          members(at + size_t{i} * member.element->size, *member.element);
        break;
      case plan::Holds::number:
        require(plan::is_within(member, plan::value_of(member, of)), "a number is in its range");
        break;
      case plan::Holds::descriptor:
        if (const auto index = static_cast<uint32_t>(plan::value_of(member, of));
            index != plan::kNone)
          names(index, member.use);
        break;
      case plan::Holds::flags:
      case plan::Holds::reserved:
      case plan::Holds::anything: break;
    }
  }

  View plan_;
};

void as_init(View plan) {
  const plan::Header& h = plan.header();
  Walk walk(plan);
  walk.members(&h, plan::schema::kHeader);
  require(h.argv.count > 0, "there is an argv[0]");
  for (const plan::NamespaceChoice& choice : h.namespaces)
    if (choice.join == plan::Join::descriptor)
      walk.names(choice.descriptor, plan::Use::namespace_join);
  for (uint32_t i = 0; i < h.actions.count; ++i) {
    const plan::Action& action = plan.at(h.actions, i);
    if (action.op == plan::Op::receive) walk.names(action.descriptor, plan::Use::payload);
    if (action.op == plan::Op::capture)
      require(h.captures(action.fd), "the stream of an action is captured");
  }
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    const plan::Mount& mount = plan.at(h.mounts, i);
    require(plan.c_str(mount.at)[0] == '/', "a mount point is an absolute path");
    const plan::Use use = plan::traits_of(mount.kind).use;
    if (use != plan::Use::none) walk.names(mount.descriptor, use);
  }
}

// Somebody with two ids, two groups and no privilege, to whom nothing is granted.
const monitor::Peer& stranger() {
  static const monitor::Peer peer = [] {
    monitor::Peer made;
    made.uid = 1000;
    made.gid = 1000;
    made.groups = {1000, 1001};
    made.pid = ::getpid();
    made.pidfd = sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, made.pid, 0)));
    require(bool(made.pidfd), "pidfd_open(2) works");
    return made;
  }();
  return peer;
}

void as_monitor(View plan) {
  static const monitor::Policy policy;
  static const monitor::Surroundings surroundings;
  const monitor::Peer& peer = stranger();
  const auto nobodys = [](const uint8_t(&)[16], const monitor::Peer&) {
    return monitor::Joinable();
  };
  const auto approved = monitor::authorise(peer, plan,
                                           {.policy = policy,
                                            .mode = plan::Mode::system,
                                            .joinable = nobodys,
                                            .no_pasta = plan::Reason::none,
                                            .no_disk = plan::Reason::none,
                                            .ids = {},
                                            .own = surroundings});
  if (!approved) {
    require(approved.error().kind != plan::RefusalKind::none &&
                approved.error().reason != plan::Reason::none,
            "a refusal names its rule");
    return;
  }
  const plan::Identity& id = plan->identity;
  if (plan->namespaces[static_cast<uint32_t>(plan::Namespace::user)].join == plan::Join::host) {
    for (uint32_t uid : {id.ruid, id.euid, id.suid})
      require(uid == peer.uid, "without a grant nobody becomes another");
    for (uint32_t gid : {id.rgid, id.egid, id.sgid})
      require(gid == 1000 || gid == 1001, "without a grant nobody enters a group");
    for (uint32_t i = 0; i < id.groups.count; ++i)
      require(peer.in_group(plan.at(id.groups, i)), "without a grant nobody enters a group");
  }
  const monitor::IdMaps& maps = approved->ids().job;
  for (const auto& map : {maps.uids, maps.gids})
    for (const plan::IdMap& line : map)
      require(line.count <= 2 && (line.outside == 1000 || line.outside == 1001),
              "a map leads to ids of the caller");
  require(plan->nice >= 0 && plan->oom_score_adj >= 0, "nobody raises what needs a capability");
  const plan::Capabilities& sets = approved->order().capabilities;
  const bool own =
      plan->namespaces[static_cast<uint32_t>(plan::Namespace::user)].join == plan::Join::fresh;
  require(own || (sets.bounding | sets.permitted | sets.effective | sets.inheritable |
                  sets.ambient) == 0,
          "nobody gains a capability but in a user namespace of its own");
}

// The same who may be uid 0 besides, under a rule that leaves no network and no device.
void as_monitor_of_granted(View plan) {
  static const monitor::Policy policy = [] {
    monitor::Policy made;
    auto rule = std::make_shared<monitor::Rule>();
    rule->uids = rule->gids = {{0, 0}};
    rule->devices.emplace();
    rule->networks = monitor::bit(monitor::Network::none);
    made.otherwise = rule;
    return made;
  }();
  static const monitor::Surroundings surroundings;
  const auto approved = monitor::authorise(
      stranger(), plan,
      {.policy = policy,
       .mode = plan::Mode::system,
       .joinable = [](const uint8_t(&)[16], const monitor::Peer&) { return monitor::Joinable(); },
       .no_pasta = plan::Reason::none,
       .no_disk = plan::Reason::none,
       .ids = {},
       .own = surroundings});
  if (!approved) return;
  const auto joins = [&](plan::Namespace which) {
    return plan->namespaces[static_cast<uint32_t>(which)].join;
  };
  require(joins(plan::Namespace::net) != plan::Join::host && !(plan->flags & plan::kOutbound),
          "a network that the rule does not leave is not there");
  require((plan->ioprio >> 13 & 7) != 1, "nobody gets a real-time class");
  for (uint32_t i = 0; i < plan->mounts.count; ++i) {
    const plan::Mount& mount = plan.at(plan->mounts, i);
    require(mount.kind != plan::MountKind::bind || (mount.flags & plan::kMountNoDev),
            "a bind has no devices that the rule does not list");
  }
  const plan::Identity& id = plan->identity;
  const bool root = !approved->ids().leased_id &&
                    joins(plan::Namespace::user) == plan::Join::host &&
                    (id.ruid == 0 || id.euid == 0 || id.suid == 0);
  if (root && joins(plan::Namespace::mnt) == plan::Join::fresh)
    require(plan->mounts.count > 0 && (approved->order().flags & plan::kCoverKernel),
            "the host's root is covered");
}

// What a hostile front makes of an honest Plan: each six bytes are a place in the
// header, or in its first mount, and what is written there.
std::string altered(Bytes pokes) {
  plan::Builder builder;
  builder->argv = builder.texts(std::vector<std::string>{"a"});
  for (plan::NamespaceChoice& choice : builder->namespaces)
    choice = {plan::Join::fresh, plan::kNone, {}};
  builder->namespaces[static_cast<uint32_t>(plan::Namespace::user)].join = plan::Join::host;
  builder->flags = plan::kNoNewPrivs;
  plan::Identity& id = builder->identity;
  id.ruid = id.euid = id.suid = id.rgid = id.egid = id.sgid = 1000;
  id.groups = builder.span(std::vector<uint32_t>{1000, 1001});
  builder->descriptors = builder.span(std::vector<plan::Descriptor>{{plan::Use::mount, 0}});
  plan::Mount bind{};
  bind.kind = plan::MountKind::bind;
  bind.flags = plan::kMountNoDev | plan::kMountNoSuid;
  bind.at = builder.text("/");
  bind.source = bind.data = builder.text("");
  builder->mounts = builder.span(std::vector<plan::Mount>{bind});
  const size_t mounts = builder->mounts.offset;
  std::string block = builder.finish();
  constexpr size_t kPlaces = sizeof(plan::Header) + sizeof(plan::Mount);
  for (; pokes.size() >= 6; pokes = pokes.subspan(6)) {
    size_t place = (pokes[0] | pokes[1] << 8) % kPlaces / 4 * 4;
    if (place >= sizeof(plan::Header)) place += mounts - sizeof(plan::Header);
    std::memcpy(block.data() + place, &pokes[2], 4);
  }
  return block;
}

void as_front(View plan, uint32_t step, uint32_t index) {
  plan::JobState state{};
  state.phase = state.event = plan::JobPhase::ended;
  state.record.ending = plan::Ending::not_started;
  state.record.failure = {static_cast<plan::Step>(step), index, ENOENT, 0};
  const auto utf8 = [](const varlink::Json& json) {
    return json.dump(-1, ' ', false, varlink::Json::error_handler_t::replace).size();
  };
  size_t size = utf8(varlink::to_dom(varlink::make_verdict(state, plan)));
  size += utf8(varlink::to_dom(varlink::make_job_info(state, plan)));
  size += utf8(varlink::to_dom(varlink::make_failure(state.record.failure, &plan)));
  require(size > 0, "a job can be told of");
}

}  // namespace

void block(Bytes input) {
  if (input.size() < 2) return;
  const uint32_t step = input[0], index = input[1] & 0x7f;
  // Most inputs get a head that is right, or few would come past it.
  const bool as_is = (input[1] & 0x80) != 0;
  const std::string hostile = input[1] & 1 ? altered(input.subspan(2)) : std::string();
  if (!hostile.empty())
    input = {reinterpret_cast<const uint8_t*>(hostile.data()), hostile.size()};
  else
    input = input.subspan(2);
  // Of its own size, so that a read behind it is seen.
  const auto bytes = std::make_unique<uint8_t[]>(input.size());
  if (!input.empty()) std::memcpy(bytes.get(), input.data(), input.size());
  if (!as_is && input.size() >= sizeof(plan::Header)) {
    auto* header = reinterpret_cast<plan::Header*>(bytes.get());
    header->magic = plan::kMagic;
    header->version = plan::kVersion;
    header->bytes = static_cast<uint32_t>(input.size());
  }
  if (plan::check(bytes.get(), input.size()) != plan::Flaw::none) return;
  const View plan(bytes.get());
  as_init(plan);
  as_monitor(plan);
  as_monitor_of_granted(plan);
  as_front(plan, step, index == 0x7f ? plan::kNone : index);
}

}  // namespace cloister::fuzz
