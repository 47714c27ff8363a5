// plan::check(), which every block passes before anybody looks into it: a block
// that is spoilt at one place, at each place in turn.
#include <cstring>
#include <functional>
#include <vector>

#include "outcome.hpp"
#include "plan/builder.hpp"
#include "plan/view.hpp"

using namespace cloister;
using plan::Flaw;
using plan::Use;

namespace {

struct Block {
  plan::Builder plan;
  std::vector<plan::Descriptor> descriptors;
  std::vector<plan::Action> actions;
  std::vector<plan::Mount> mounts;
  std::vector<plan::Layer> layers;  // of the last mount
  std::vector<plan::IdMap> mount_map, uid_map, gid_map;
  std::vector<uint32_t> groups, ports;
  std::vector<plan::Sysctl> sysctls;
  std::vector<plan::Published> published;
  std::vector<plan::Tag> tags;
  std::vector<plan::Instruction> seccomp;
  std::vector<plan::LandlockPath> paths;
  std::vector<std::string> argv = {"x"}, env;

  // One descriptor of each use: its index is the number of the use.
  Block() {
    for (uint32_t use = 0; use < static_cast<uint32_t>(Use::count_); ++use)
      descriptors.push_back({static_cast<Use>(use), 0});
  }
  plan::Action& act(plan::Op op) {
    plan::Action action{};
    action.op = op;
    action.path = plan.text("");
    actions.push_back(action);
    return actions.back();
  }
  plan::Mount& mount(plan::MountKind kind) {
    plan::Mount made{};
    made.kind = kind;
    made.at = plan.text("/m");
    made.source = made.data = plan.text("");
    mounts.push_back(made);
    return mounts.back();
  }
  std::string finish() {
    plan->argv = plan.texts(argv);
    plan->env = plan.texts(env);
    plan->descriptors = plan.span(descriptors);
    plan->actions = plan.span(actions);
    if (!mounts.empty()) {
      mounts.back().layers = plan.span(layers);
      mounts.back().uid_map = plan.span(mount_map);
    }
    plan->mounts = plan.span(mounts);
    plan->uid_map = plan.span(uid_map);
    plan->gid_map = plan.span(gid_map);
    plan->identity.groups = plan.span(groups);
    plan->sysctls = plan.span(sysctls);
    plan->published = plan.span(published);
    plan->tags = plan.span(tags);
    plan->seccomp = plan.span(seccomp);
    plan->landlock.paths = plan.span(paths);
    plan->landlock.bind_tcp = plan.span(ports);
    return plan.finish();
  }
};

using Spoil = std::function<void(Block&)>;

Flaw flaw_of(const Spoil& spoil) {
  Block block;
  spoil(block);
  const std::string bytes = block.finish();
  return plan::check(bytes.data(), bytes.size());
}

plan::Header& header(std::string& bytes) { return *reinterpret_cast<plan::Header*>(bytes.data()); }

// After the block is whole: what no builder would write.
Flaw flaw_after(
    const std::function<void(std::string&)>& spoil, const Spoil& before = [](Block&) {}) {
  Block block;
  before(block);
  std::string bytes = block.finish();
  REQUIRE(plan::check(bytes.data(), bytes.size()) == Flaw::none);
  spoil(bytes);
  return plan::check(bytes.data(), bytes.size());
}

// Values just inside and one past each edge of a number of the header.
template <class T>
void edges(const char* name, T plan::Header::*field, std::vector<int64_t> good,
           std::vector<int64_t> bad) {
  CAPTURE(std::string(name));
  for (const int64_t value : good) {
    CAPTURE(value);
    CHECK(flaw_of([&](Block& b) { b.plan.header().*field = static_cast<T>(value); }) == Flaw::none);
  }
  for (const int64_t value : bad) {
    CAPTURE(value);
    CHECK(flaw_of([&](Block& b) { b.plan.header().*field = static_cast<T>(value); }) ==
          Flaw::range);
  }
}

constexpr uint32_t kUses = static_cast<uint32_t>(Use::count_);

// The place takes a descriptor of this use, of no other, and none that is not there.
void takes_only(const char* place, Use use, const std::function<void(Block&, uint32_t)>& name) {
  CAPTURE(std::string(place));
  for (uint32_t other = 0; other <= kUses; ++other) {
    CAPTURE(other);
    const Flaw flaw = flaw_of([&](Block& b) { name(b, other); });
    CHECK(flaw == (other == static_cast<uint32_t>(use) ? Flaw::none : Flaw::descriptor));
  }
  CHECK(flaw_of([&](Block& b) { name(b, plan::kNone - 1); }) == Flaw::descriptor);
}

}  // namespace

TEST_CASE("check: each place that names a descriptor takes one of its own use only") {
  takes_only("executable", Use::executable,
             [](Block& b, uint32_t i) { b.plan->executable_descriptor = i; });
  takes_only("cwd", Use::cwd, [](Block& b, uint32_t i) { b.plan->cwd_descriptor = i; });
  for (uint32_t which = 0; which < plan::kNamespaces; ++which)
    takes_only("namespace", Use::namespace_join, [&](Block& b, uint32_t i) {
      b.plan->namespaces[which].join = plan::Join::descriptor;
      b.plan->namespaces[which].descriptor = i;
    });
  takes_only("receive", Use::payload,
             [](Block& b, uint32_t i) { b.act(plan::Op::receive).descriptor = i; });
  takes_only("bind", Use::mount,
             [](Block& b, uint32_t i) { b.mount(plan::MountKind::bind).descriptor = i; });
  takes_only("device", Use::device,
             [](Block& b, uint32_t i) { b.mount(plan::MountKind::device).descriptor = i; });
  takes_only("file", Use::content,
             [](Block& b, uint32_t i) { b.mount(plan::MountKind::file).descriptor = i; });
  takes_only("secret", Use::content,
             [](Block& b, uint32_t i) { b.mount(plan::MountKind::secret).descriptor = i; });
  for (const plan::LayerRole role :
       {plan::LayerRole::lower, plan::LayerRole::upper, plan::LayerRole::work})
    takes_only("layer", role == plan::LayerRole::lower ? Use::mount : Use::writable_layer,
               [&](Block& b, uint32_t i) {
                 b.mount(plan::MountKind::overlay);
                 b.layers = {{role, i, b.plan.text("")}};
               });
}

TEST_CASE("check: an action of captured output names a stream that is captured") {
  const auto flaw = [](int32_t fd, uint64_t out, uint64_t err) {
    return flaw_of([&](Block& b) {
      b.plan->capture[0].max = out;
      b.plan->capture[1].max = err;
      b.act(plan::Op::capture).fd = fd;
    });
  };
  CHECK(flaw(1, 1, 0) == Flaw::none);
  CHECK(flaw(2, 0, plan::kMaxCapture) == Flaw::none);
  CHECK(flaw(1, 0, 1) == Flaw::range);
  CHECK(flaw(2, 1, 0) == Flaw::range);
  for (const int32_t fd : {0, 3}) CHECK(flaw(fd, 1, 1) == Flaw::range);
  CHECK(flaw(1, plan::kMaxCapture + 1, 0) == Flaw::range);
}

TEST_CASE("output: what is kept lies together in pieces, in a head and a ring") {
  using plan::Keep;
  const auto layout = [](Keep keep) {
    return plan::OutputLayout({11, plan::OnLimit::truncate, keep});
  };
  constexpr uint64_t kStart = plan::kOutputHeader;
  const auto piece = [](plan::Piece of, uint64_t offset, uint64_t length) {
    return of.length == length && (length == 0 || of.offset == offset);
  };
  const plan::OutputLayout head = layout(Keep::head);
  CHECK(piece(head.room(0), kStart, 11));
  CHECK(piece(head.room(10), kStart + 10, 1));
  CHECK(piece(head.room(11), 0, 0));
  CHECK(head.first_kept(10, 100) == 10);
  CHECK(head.first_kept(11, 100) >= 100);
  const plan::OutputLayout tail = layout(Keep::tail);
  CHECK(piece(tail.room(0), kStart, 11));
  CHECK(piece(tail.room(12), kStart + 1, 10));
  CHECK(tail.first_kept(0, 11) == 0);
  CHECK(tail.first_kept(0, 12) == 1);
  CHECK(tail.first_kept(5, 12) == 5);
  const plan::OutputLayout both = layout(Keep::both);  // 5 and 6
  CHECK(piece(both.room(4), kStart + 4, 1));
  CHECK(piece(both.room(5), kStart + 5, 6));
  CHECK(piece(both.room(11), kStart + 5, 6));
  CHECK(both.first_kept(4, 100) == 4);
  CHECK(both.first_kept(5, 11) == 5);
  CHECK(both.first_kept(5, 12) == 6);
  CHECK(both.first_kept(5, 100) == 94);
  for (const plan::OutputLayout& each : {head, tail, both}) {
    CHECK(each.kept(10) == 10);
    CHECK(each.kept(12) == 11);
  }
}

TEST_CASE("check: an enumerator is one that there is") {
  CHECK(flaw_of([](Block& b) { b.descriptors.push_back({Use::count_, 0}); }) == Flaw::range);
  CHECK(flaw_of([](Block& b) { b.act(plan::Op::count_); }) == Flaw::range);
  CHECK(flaw_of([](Block& b) { b.mount(plan::MountKind::count_); }) == Flaw::range);
  CHECK(flaw_of([](Block& b) { b.plan->namespaces[7].join = plan::Join::count_; }) == Flaw::range);
  CHECK(flaw_of([](Block& b) { b.plan->on_disconnect = plan::OnDisconnect::count_; }) ==
        Flaw::range);
  CHECK(flaw_of([](Block& b) { b.plan->method = static_cast<plan::Method>(3); }) == Flaw::range);
  CHECK(flaw_of([](Block& b) {
          b.mount(plan::MountKind::overlay);
          b.layers = {{plan::LayerRole::count_, 3, b.plan.text("")}};
        }) == Flaw::range);
}

TEST_CASE("check: each number of the header at its edges") {
  using plan::Header;
  edges("flags", &Header::flags, {0, plan::kAllFlags}, {plan::kAllFlags + 1, UINT32_MAX});
  edges("umask", &Header::umask, {0, 0777}, {01000, UINT32_MAX});
  edges("nice", &Header::nice, {-20, 19}, {-21, 20});
  edges("oom_score_adj", &Header::oom_score_adj, {-1000, 1000}, {-1001, 1001});
  edges("controlling_fd", &Header::controlling_fd, {-1, 0, plan::kMaxFd}, {-2, plan::kMaxFd + 1});
  edges("rows", &Header::rows, {0, 65535}, {65536});
  edges("columns", &Header::columns, {0, 65535}, {65536});
  edges("stop_signal", &Header::stop_signal, {1, 64}, {-1, 0, 65});
  edges("unshare", &Header::unshare, {0, INT32_MAX}, {int64_t{INT32_MAX} + 1, UINT32_MAX});
  edges("id_choices", &Header::id_choices, {0, plan::kAllIdChoices}, {plan::kAllIdChoices + 1});
  edges("caller_cgroup", &Header::caller_cgroup, {0, 1}, {2});
  const auto longest = static_cast<int64_t>(plan::kMaxTimeoutMs);
  edges("stop_timeout", &Header::stop_timeout_ms, {0, longest}, {longest + 1, -1});
  edges("setup_timeout", &Header::setup_timeout_ms, {0, longest}, {longest + 1, -1});
  const auto all = [](auto set) { return [=](Block& b) { set(*b.plan.operator->()); }; };
  CHECK(flaw_of(all([](Header& h) { h.scheduler.set = 7; })) == Flaw::none);
  CHECK(flaw_of(all([](Header& h) { h.scheduler.set = 8; })) == Flaw::range);
  CHECK(flaw_of(all([](Header& h) { h.scheduler.priority = 99; })) == Flaw::none);
  CHECK(flaw_of(all([](Header& h) { h.scheduler.priority = 100; })) == Flaw::range);
  CHECK(flaw_of(all([](Header& h) { h.scheduler.priority = -1; })) == Flaw::range);
  for (uint32_t i = 0; i < plan::kRlimits; ++i) {
    CHECK(flaw_of(all([=](Header& h) { h.rlimits[i] = {5, 5, 1, 0}; })) == Flaw::none);
    CHECK(flaw_of(all([=](Header& h) { h.rlimits[i] = {6, 5, 1, 0}; })) == Flaw::range);
    CHECK(flaw_of(all([=](Header& h) { h.rlimits[i] = {6, 5, 0, 0}; })) == Flaw::range);
  }
  for (uint32_t plan::Identity::*id :
       {&plan::Identity::ruid, &plan::Identity::euid, &plan::Identity::suid, &plan::Identity::rgid,
        &plan::Identity::egid, &plan::Identity::sgid}) {
    CHECK(flaw_of(all([=](Header& h) { h.identity.*id = plan::kNone - 1; })) == Flaw::none);
    CHECK(flaw_of(all([=](Header& h) { h.identity.*id = plan::kNone; })) == Flaw::range);
  }
}

TEST_CASE("check: capabilities that nobody asked for are none") {
  using plan::Capabilities;
  CHECK(flaw_of([](Block& b) { b.plan->capabilities.set = 2; }) == Flaw::range);
  for (uint64_t Capabilities::*set :
       {&Capabilities::bounding, &Capabilities::effective, &Capabilities::permitted,
        &Capabilities::inheritable, &Capabilities::ambient})
    for (const uint32_t asked : {0u, 1u})
      CHECK(flaw_of([&](Block& b) {
              b.plan->capabilities.set = asked;
              b.plan->capabilities.*set = 1;
            }) == (asked ? Flaw::none : Flaw::range));
  for (const uint32_t bits : {1u, 0xffu, 0x100u})
    for (const uint32_t asked : {0u, 1u})
      CHECK(flaw_of([&](Block& b) {
              b.plan->capabilities.set = asked;
              b.plan->capabilities.securebits = bits;
            }) == (asked && bits <= 0xff ? Flaw::none : Flaw::range));
}

TEST_CASE("check: a map line neither is empty nor wraps, in each of the maps") {
  for (std::vector<plan::IdMap> Block::*map :
       {&Block::uid_map, &Block::gid_map, &Block::mount_map}) {
    const auto flaw = [&](plan::IdMap line) {
      return flaw_of([&](Block& b) {
        if (map == &Block::mount_map) b.mount(plan::MountKind::bind).descriptor = 3;
        b.*map = {{0, 0, 1}, line};
      });
    };
    CHECK(flaw({0, 0, 1}) == Flaw::none);
    CHECK(flaw({0, 0, 0}) == Flaw::range);
    CHECK(flaw({UINT32_MAX - 5, 0, 5}) == Flaw::none);
    CHECK(flaw({UINT32_MAX - 5, 0, 6}) == Flaw::range);
    CHECK(flaw({0, UINT32_MAX - 5, 5}) == Flaw::none);
    CHECK(flaw({0, UINT32_MAX - 5, 6}) == Flaw::range);
    CHECK(flaw({0, 0, UINT32_MAX}) == Flaw::none);
    const auto lines = [&](uint32_t count) {
      return flaw_of([&](Block& b) {
        if (map == &Block::mount_map) b.mount(plan::MountKind::bind).descriptor = 3;
        (b.*map).assign(count, {0, 0, 1});
      });
    };
    CHECK(lines(plan::kMaxMapLines) == Flaw::none);
    CHECK(lines(plan::kMaxMapLines + 1) == Flaw::count);
  }
  for (const bool uids : {false, true})
    CHECK(flaw_of([&](Block& b) {
            b.plan->id_choices = uids ? plan::kSubordinateUids : plan::kSubordinateGids;
            (uids ? b.uid_map : b.gid_map) = {{0, 0, 1}};
          }) == Flaw::count);
}

TEST_CASE("check: actions and mounts at the edges of their numbers") {
  const auto action = [](auto set) {
    return flaw_of([&](Block& b) { set(b.act(plan::Op::open)); });
  };
  CHECK(action([](plan::Action& a) { a.fd = plan::kMaxFd; }) == Flaw::none);
  CHECK(action([](plan::Action& a) { a.fd = plan::kMaxFd + 1; }) == Flaw::range);
  CHECK(action([](plan::Action& a) { a.fd = -1; }) == Flaw::range);
  CHECK(action([](plan::Action& a) { a.new_fd = plan::kMaxFd; }) == Flaw::none);
  CHECK(action([](plan::Action& a) { a.new_fd = plan::kMaxFd + 1; }) == Flaw::range);
  CHECK(action([](plan::Action& a) { a.new_fd = -1; }) == Flaw::range);
  CHECK(action([](plan::Action& a) { a.mode = 07777; }) == Flaw::none);
  CHECK(action([](plan::Action& a) { a.mode = 010000; }) == Flaw::range);
  const auto mount = [](plan::MountKind kind, auto set) {
    return flaw_of([&](Block& b) { set(b, b.mount(kind)); });
  };
  using plan::Mount;
  using plan::MountKind;
  CHECK(mount(MountKind::scratch, [](Block&, Mount& m) { m.flags = plan::kMountAllFlags; }) ==
        Flaw::none);
  CHECK(mount(MountKind::scratch, [](Block&, Mount& m) { m.flags = plan::kMountAllFlags + 1; }) ==
        Flaw::range);
  CHECK(mount(MountKind::tmpfs, [](Block&, Mount& m) { m.flags = plan::kMountOnDisk; }) ==
        Flaw::range);
  CHECK(mount(MountKind::tmpfs, [](Block&, Mount& m) { m.mode = 07777; }) == Flaw::none);
  CHECK(mount(MountKind::tmpfs, [](Block&, Mount& m) { m.mode = 010000; }) == Flaw::range);
  CHECK(mount(MountKind::tmpfs, [](Block& b, Mount& m) { m.at = b.plan.text("m"); }) == Flaw::text);
  CHECK(mount(MountKind::tmpfs, [](Block& b, Mount& m) { m.at = b.plan.text(""); }) == Flaw::text);
  CHECK(mount(MountKind::overlay, [](Block&, Mount&) {}) == Flaw::count);
  CHECK(mount(MountKind::tmpfs, [](Block& b, Mount&) {
          b.layers = {{plan::LayerRole::lower, 3, b.plan.text("")}};
        }) == Flaw::count);
}

TEST_CASE("check: ports, families and flags of a filter at their edges") {
  const auto port = [](auto set) {
    return flaw_of([&](Block& b) {
      plan::Published made{{}, plan::kInet, 0, 1, 1};
      set(made);
      b.published = {made};
    });
  };
  using plan::Published;
  CHECK(port([](Published&) {}) == Flaw::none);
  CHECK(port([](Published& p) { p.family = plan::kInet6; }) == Flaw::none);
  CHECK(port([](Published& p) { p.family = 1; }) == Flaw::range);
  CHECK(port([](Published& p) { p.udp = 1; }) == Flaw::none);
  CHECK(port([](Published& p) { p.udp = 2; }) == Flaw::range);
  for (uint32_t Published::*number : {&Published::port, &Published::host_port}) {
    CHECK(port([=](Published& p) { p.*number = 0; }) == Flaw::range);
    CHECK(port([=](Published& p) { p.*number = 65535; }) == Flaw::none);
    CHECK(port([=](Published& p) { p.*number = 65536; }) == Flaw::range);
  }
  CHECK(flaw_of([](Block& b) { b.ports = {65535}; }) == Flaw::none);
  CHECK(flaw_of([](Block& b) { b.ports = {65536}; }) == Flaw::range);
  CHECK(flaw_of([](Block& b) { b.plan->seccomp_flags = 1; }) == Flaw::range);
  for (const uint32_t flags : {plan::kAllFilterFlags, plan::kAllFilterFlags + 1})
    CHECK(flaw_of([&](Block& b) {
            b.seccomp.resize(1);
            b.plan->seccomp_flags = flags;
          }) == (flags == plan::kAllFilterFlags ? Flaw::none : Flaw::range));
}

TEST_CASE("check: each list and each text at its bound and one past it") {
  const auto sized = [](auto list, uint32_t most, auto element) {
    for (const uint32_t count : {most, most + 1}) {
      CAPTURE(count);
      const Flaw flaw = flaw_of([&](Block& b) { (b.*list).assign(count, element(b)); });
      CHECK(flaw == (count == most ? Flaw::none : Flaw::count));
    }
  };
  sized(&Block::descriptors, plan::kMaxDescriptors, [](Block&) {
    return plan::Descriptor{Use::payload, 0};
  });
  sized(&Block::actions, plan::kMaxActions, [](Block& b) {
    plan::Action action{};
    action.path = b.plan.text("");
    return action;
  });
  sized(&Block::groups, plan::kMaxGroups, [](Block&) { return 1u; });
  sized(&Block::sysctls, plan::kMaxSysctls, [](Block& b) {
    return plan::Sysctl{b.plan.text(""), b.plan.text("")};
  });
  sized(&Block::published, plan::kMaxPublished, [](Block&) {
    return plan::Published{{}, plan::kInet, 0, 1, 1};
  });
  sized(&Block::tags, plan::kMaxTags, [](Block& b) {
    return plan::Tag{b.plan.text(""), b.plan.text("")};
  });
  sized(&Block::seccomp, plan::kMaxInstructions, [](Block&) { return plan::Instruction{}; });
  sized(&Block::ports, plan::kMaxLandlockPorts, [](Block&) { return 1u; });
  sized(&Block::paths, plan::kMaxLandlockPaths, [](Block& b) {
    return plan::LandlockPath{b.plan.text(""), 0, 0};
  });
  sized(&Block::argv, plan::kMaxArguments, [](Block&) { return std::string(); });
  sized(&Block::env, plan::kMaxArguments, [](Block&) { return std::string(); });
  CHECK(flaw_of([](Block& b) { b.argv.clear(); }) == Flaw::count);
  CHECK(flaw_of([](Block& b) { b.groups = {plan::kNone}; }) == Flaw::range);

  const auto text = [](plan::Text plan::Header::*field, uint32_t most) {
    CAPTURE(most);
    for (const uint32_t size : {most, most + 1})
      CHECK(flaw_of([&](Block& b) {
              b.plan.header().*field = b.plan.text(std::string(size, 'x'));
            }) == (size == most ? Flaw::none : Flaw::count));
  };
  using plan::Header;
  for (plan::Text Header::*name : {&Header::profile, &Header::name, &Header::idempotency_key})
    text(name, plan::kMaxName);
  for (plan::Text Header::*name : {&Header::hostname, &Header::domainname})
    text(name, plan::kMaxHostname);
  for (plan::Text Header::*path : {&Header::executable, &Header::cwd})
    text(path, plan::kMaxPath - 1);
  text(&Header::search, plan::kMaxArgumentBytes - 1);
}

TEST_CASE(
    "check: nothing points outside of the block, into its header, or at text without an end") {
  using plan::Header;
  CHECK(flaw_after([](std::string& b) { header(b).magic ^= 1; }) == Flaw::magic);
  CHECK(flaw_after([](std::string& b) { header(b).version += 1; }) == Flaw::version);
  CHECK(flaw_after([](std::string& b) { header(b).bytes += 8; }) == Flaw::size);
  CHECK(flaw_after([](std::string& b) { b.resize(sizeof(Header) - 1); }) == Flaw::size);
  for (plan::Text Header::*field :
       {&Header::profile, &Header::name, &Header::idempotency_key, &Header::request_json,
        &Header::degraded, &Header::executable, &Header::search, &Header::cwd, &Header::hostname,
        &Header::domainname}) {
    CHECK(flaw_after([&](std::string& b) { (header(b).*field).offset = sizeof(Header) - 1; }) ==
          Flaw::text);
    CHECK(flaw_after([&](std::string& b) {
            (header(b).*field).offset = static_cast<uint32_t>(b.size());
          }) == Flaw::text);
    CHECK(flaw_after([&](std::string& b) { (header(b).*field) = {UINT32_MAX, 1}; }) == Flaw::text);
    // A NUL inside, and none behind.
    const auto named = [&](Block& b) { b.plan.header().*field = b.plan.text("abc"); };
    CHECK(flaw_after([&](std::string& b) { b[(header(b).*field).offset + 1] = 0; }, named) ==
          Flaw::text);
    CHECK(flaw_after([&](std::string& b) { b[(header(b).*field).offset + 3] = 'x'; }, named) ==
          Flaw::text);
  }
  CHECK(flaw_after([](std::string& b) {
          header(b).identity.groups = {static_cast<uint32_t>(sizeof(Header)), 1};
        }) == Flaw::none);
  const auto span = [](auto field) {
    CHECK(flaw_after([&](std::string& b) {
            (header(b).*field).offset = sizeof(Header) - 8;
            (header(b).*field).count = 1;
          }) == Flaw::span);
    CHECK(flaw_after([&](std::string& b) {
            (header(b).*field).offset = sizeof(Header) + 4;
            (header(b).*field).count = 1;
          }) == Flaw::span);
    CHECK(flaw_after([&](std::string& b) {
            (header(b).*field).offset = static_cast<uint32_t>(b.size() / 8 * 8);
            (header(b).*field).count = 1;
          }) == Flaw::span);
    CHECK(flaw_after([&](std::string& b) {
            (header(b).*field).offset = UINT32_MAX - 7;
            (header(b).*field).count = 1;
          }) == Flaw::span);
  };
  span(&Header::argv);
  span(&Header::env);
  span(&Header::descriptors);
  span(&Header::actions);
  span(&Header::mounts);
  span(&Header::uid_map);
  span(&Header::gid_map);
  span(&Header::sysctls);
  span(&Header::published);
  span(&Header::tags);
  span(&Header::seccomp);
}
