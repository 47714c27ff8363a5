// plan/schema.hpp: every member of every structure at its edges, through check(),
// and held against the request that it comes from.

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "outcome.hpp"
#include "plan/builder.hpp"
#include "plan/view.hpp"
#include "request/layers.hpp"
#include "request/schema.hpp"

using namespace cloister;
using nlohmann::json;
using plan::Flaw;
using plan::Holds;
using plan::Member;
using plan::Struct;

namespace {

// A sound block in which each list has one element at least.
std::string whole_block() {
  plan::Builder b;
  const plan::Text empty = b.text("");
  std::vector<plan::Descriptor> descriptors;
  for (uint32_t use = 0; use < static_cast<uint32_t>(plan::Use::count_); ++use)
    descriptors.push_back({static_cast<plan::Use>(use), 0});
  b->descriptors = b.span(descriptors);
  b->argv = b.texts(std::vector<std::string>{"argv"});
  b->env = b.texts(std::vector<std::string>{"A=b"});
  plan::Action action{};
  action.path = empty;
  b->actions = b.span(std::vector<plan::Action>{action});
  const std::vector<plan::IdMap> map{{0, 0, 1}};
  plan::Mount mount{};
  mount.kind = plan::MountKind::overlay;
  mount.at = b.text("/m");
  mount.source = mount.data = empty;
  mount.layers = b.span(std::vector<plan::Layer>{
      {plan::LayerRole::lower, static_cast<uint32_t>(plan::Use::mount), empty}});
  mount.uid_map = b.span(map);
  mount.gid_map = b.span(map);
  b->mounts = b.span(std::vector<plan::Mount>{mount});
  b->uid_map = b.span(map);
  b->gid_map = b.span(map);
  b->identity.groups = b.span(std::vector<uint32_t>{1});
  b->sysctls = b.span(std::vector<plan::Sysctl>{{empty, empty}});
  b->published = b.span(std::vector<plan::Published>{{{}, plan::kInet, 0, 1, 1}});
  b->tags = b.span(std::vector<plan::Tag>{{empty, empty}});
  b->seccomp = b.span(std::vector<plan::Instruction>(1));
  b->landlock.paths = b.span(std::vector<plan::LandlockPath>{{empty, 0, 0}});
  b->landlock.bind_tcp = b->landlock.connect_tcp = b.span(std::vector<uint32_t>{1});
  b->capabilities.set = 1;
  return b.finish();
}

class Edges {
 public:
  explicit Edges(std::string block) : block_(std::move(block)) {}

  void of(const Struct& type, size_t at, const std::string& path) {
    for (uint32_t i = 0; i < type.count; ++i)
      of(type.members[i], at, path + '.' + type.members[i].name);
  }
  size_t tried() const { return tried_; }

 private:
  void of(const Member& member, size_t owner, const std::string& path) {
    CAPTURE(path);
    const size_t at = owner + member.offset;
    const Struct* const element = member.element;
    switch (member.holds) {
      case Holds::number: numbers(member, at, path); break;
      case Holds::flags:
        try_value(member, at, 0, Flaw::none);
        try_value(member, at, member.high + 1, Flaw::range);
        break;
      case Holds::reserved: try_value(member, at, 1, Flaw::range); break;
      case Holds::descriptor:
        try_value(member, at, plan::kNone, Flaw::none);
        try_value(member, at, static_cast<uint64_t>(member.use), Flaw::none);
        try_value(member, at, static_cast<uint64_t>(member.use) - 1, Flaw::descriptor);
        break;
      case Holds::text: try_length(member, at); break;
      case Holds::list:
        try_length(member, at);
        REQUIRE(place(at).length >= 1);
        of(*element, place(at).offset, path + "[0]");
        break;
      case Holds::block:
        for (uint32_t i = 0; i < member.count; ++i)
          of(*element, at + size_t{i} * element->size, path);
        break;
      case Holds::anything: break;
    }
  }

  void numbers(const Member& member, size_t at, const std::string& path) {
    // What check() looks at before all else has a flaw of its own, and an enumerator
    // decides what others mean: those have cases in plan_check_test.cpp.
    if (path == ".magic" || path == ".version" || path == ".bytes" || path.ends_with(".kind") ||
        path.ends_with(".role"))
      return;
    try_value(member, at, static_cast<uint64_t>(member.low), Flaw::none);
    if (member.high < (member.size < 8 ? uint64_t{1} << member.size * 8 : UINT64_MAX))
      try_value(member, at, member.high, Flaw::none);
    if (member.is_signed || member.low > 0)
      try_value(member, at, static_cast<uint64_t>(member.low - 1), Flaw::range);
    const uint64_t past = member.high + 1;
    const bool fits = member.size == 8 || past < uint64_t{1} << member.size * 8;
    const bool wraps = member.is_signed && past > (uint64_t{1} << (member.size * 8 - 1)) - 1;
    if (fits && !wraps) try_value(member, at, past, Flaw::range);
  }

  plan::Text place(size_t at) const {
    plan::Text text;
    std::memcpy(&text, block_.data() + at, sizeof text);
    return text;
  }

  void try_length(const Member& member, size_t at) {
    if (member.high >= UINT32_MAX) return;
    plan::Text text = place(at);
    text.length = static_cast<uint32_t>(member.high) + 1;
    try_bytes(at, &text, sizeof text, Flaw::count);
  }

  void try_value(const Member& member, size_t at, uint64_t value, Flaw expected) {
    CAPTURE(value);
    try_bytes(at, &value, member.size, expected);
  }

  void try_bytes(size_t at, const void* bytes, size_t size, Flaw expected) {
    std::string spoilt = block_;
    std::memcpy(spoilt.data() + at, bytes, size);
    CHECK(plan::check(spoilt.data(), spoilt.size()) == expected);
    ++tried_;
  }

  std::string block_;
  size_t tried_ = 0;
};

// What a request says that no member of a Plan holds, because it is gone when the
// front has read it.
const std::map<std::string, std::string> kReadAway = {
    {"env_pass", "names variables of the caller's, which go to env"},
    {"dumpable", "is the kernel's to set at the exec; the front refuses what would differ"},
    {"implied", "says where a value came from"},
    {"unset", "takes away what the profile has"},
    {"root", "is a mount at /"},
    {"root_access", "is a mount at /"},
    {"workspace", "is a mount"},
    {"devices", "are mounts"},
    {"secrets", "are mounts"},
    {"masked_paths", "are mounts"},
    {"readonly_paths", "are mounts"},
    {"stdin", "is a file action"},
    {"stderr", "is a file action"},
};

}  // namespace

TEST_CASE("schema: each member of each structure is taken at its edges, and not past them") {
  const std::string block = whole_block();
  REQUIRE(plan::check(block.data(), block.size()) == Flaw::none);
  Edges edges(block);
  edges.of(plan::schema::kHeader, 0, "");
  CHECK(edges.tried() > 200);
}

TEST_CASE("schema: what a member begins with is within its range") {
  plan::Builder builder;
  const plan::Header& begun = builder.header();
  for (const Member& member : plan::schema::kHeaderMembers) {
    CAPTURE(std::string(member.name));
    if (member.holds != Holds::number || std::string(member.name) == "bytes") continue;
    CHECK(plan::is_within(member, plan::value_of(member, &begun)));
    CHECK(plan::value_of(member, &begun) == member.initial);
  }
}

TEST_CASE(
    "schema: each field of a request comes to a member of the Plan, and no member from elsewhere") {
  const json properties = json::parse(request::schema())["properties"];
  std::set<std::string> reached;
  const auto reach = [&](const std::string& field, const std::string& by) {
    CAPTURE(by);
    if (field.empty()) return;
    CHECK(properties.contains(field));
    reached.insert(field);
  };
  for (const Member& member : plan::schema::kHeaderMembers) reach(member.field, member.name);
  for (const plan::Flag& flag : plan::kFlags) reach(flag.field, "flag");
  for (const auto& [field, why] : kReadAway) {
    CAPTURE(field);
    CHECK(properties.contains(field));
    CHECK(reached.count(field) == 0);
    reached.insert(field);
  }
  for (const auto& [field, about] : properties.items()) {
    CAPTURE(field);
    CHECK(reached.count(field) == 1);
  }
}

TEST_CASE("schema: what is carried over is a number of the request, with a step of its own") {
  std::set<plan::Step> steps;
  for (const Member& member : plan::schema::kHeaderMembers) {
    if (!member.is_carried_over()) continue;
    CAPTURE(std::string(member.name));
    CHECK(member.size <= 8);
    CHECK_NOTHROW(request::number_of(Request(), member.field));
    CHECK(steps.insert(member.step).second);
    CHECK(std::string(plan::describe(member.step).field) == "");
    CHECK(std::string(plan::field_of(member.step)) == member.field);
  }
  CHECK(steps.size() >= 7);
  CHECK_THROWS(request::number_of(Request(), "argv"));
  CHECK_THROWS(request::number_of(Request(), "nobody"));
}

TEST_CASE("schema: a number of a request has the range that its member of the Plan has") {
  const json properties = json::parse(request::schema())["properties"];
  int compared = 0;
  for (const Member& member : plan::schema::kHeaderMembers) {
    if (member.holds != Holds::number || !*member.field) continue;
    const json& about = properties.at(member.field);
    if (about.value("type", "") != "integer") continue;
    CAPTURE(std::string(member.name));
    CHECK(about.at("minimum").get<int64_t>() >= member.low);
    CHECK(about.at("maximum").get<int64_t>() == static_cast<int64_t>(member.high));
    ++compared;
  }
  CHECK(compared >= 4);
}
