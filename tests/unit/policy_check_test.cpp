// plan::check_policy(), which every answer of cloister-config passes before the
// monitor looks into it: a block that is spoilt at one place, at each place in
// turn, at each bound and one past it. And what the monitor then reads of it.
#include <functional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config_files.hpp"
#include "outcome.hpp"
#include "plan/builder.hpp"
#include "plan/policy.hpp"

using namespace cloister;
using plan::Flaw;

namespace {

struct Block {
  plan::BlockBuilder<plan::PolicyHeader> policy;
  std::vector<plan::RuleRow> rules = {plan::RuleRow{.name = "a"}};
  // of the first rule
  std::vector<uint32_t> users, groups;
  std::vector<plan::IdRange> uids, gids;
  std::vector<plan::DeviceNode> devices;
  std::vector<plan::SubordinateLine> subuids, subgids;

  Block() {
    policy->magic = plan::kPolicyMagic;
    policy->version = plan::kPolicyVersion;
    for (plan::Text* text : {&policy->wrong_file, &policy->wrong_place, &policy->wrong_reason,
                             &policy->pasta, &policy->scratch})
      *text = policy.text("");
  }
  plan::RuleRow& rule() { return rules.front(); }
  std::string finish() {
    if (!rules.empty()) {
      rule().users = policy.span(users);
      rule().groups = policy.span(groups);
      rule().uids = policy.span(uids);
      rule().gids = policy.span(gids);
      rule().devices = policy.span(devices);
    }
    policy->rules = policy.span(rules);
    policy->subuids = policy.span(subuids);
    policy->subgids = policy.span(subgids);
    return policy.finish();
  }
};

// Aligned as the monitor's copy is.
struct Copy {
  std::vector<uint64_t> words;
  size_t bytes;
  explicit Copy(const std::string& block) : words(block.size() / 8 + 1), bytes(block.size()) {
    block.copy(reinterpret_cast<char*>(words.data()), bytes);
  }
  plan::PolicyHeader& header() { return *reinterpret_cast<plan::PolicyHeader*>(words.data()); }
  plan::RuleRow& rule() {
    return *reinterpret_cast<plan::RuleRow*>(reinterpret_cast<char*>(words.data()) +
                                             header().rules.offset);
  }
  Flaw flaw() const { return plan::check_policy(words.data(), bytes); }
};

Flaw flaw_of(const std::function<void(Block&)>& change) {
  Block block;
  change(block);
  return Copy(block.finish()).flaw();
}

// The last value that is taken, and the first that is not.
template <class T>
void bound(const std::function<T&(Block&)>& member, T good, T bad, Flaw flaw = Flaw::range) {
  CAPTURE(good);
  CAPTURE(bad);
  CHECK(flaw_of([&](Block& block) { member(block) = good; }) == Flaw::none);
  CHECK(flaw_of([&](Block& block) { member(block) = bad; }) == flaw);
}

}  // namespace

TEST_CASE("a block in which nothing is wrong is accepted, with a rule and without") {
  CHECK(flaw_of([](Block&) {}) == Flaw::none);
  CHECK(flaw_of([](Block& block) { block.rules.clear(); }) == Flaw::none);
}

TEST_CASE("what is no block of this version and size is refused") {
  const std::string block = Block().finish();
  for (const size_t bytes : {size_t{0}, size_t{4}, sizeof(plan::PolicyHeader) - 1})
    CHECK(Copy(block.substr(0, bytes)).flaw() == Flaw::size);
  CHECK(Copy(block + std::string(8, '\0')).flaw() == Flaw::size);
  CHECK(Copy(block.substr(0, block.size() - 1)).flaw() == Flaw::size);
  CHECK(flaw_of([](Block& all) { ++all.policy->magic; }) == Flaw::magic);
  CHECK(flaw_of([](Block& all) { ++all.policy->version; }) == Flaw::version);
  Copy largest(block + std::string(plan::kMaxPolicyBytes - block.size(), '\0'));
  largest.header().bytes = plan::kMaxPolicyBytes;
  CHECK(largest.flaw() == Flaw::none);
  Copy larger(block + std::string(plan::kMaxPolicyBytes + 1 - block.size(), '\0'));
  larger.header().bytes = plan::kMaxPolicyBytes + 1;
  CHECK(larger.flaw() == Flaw::size);
}

TEST_CASE("numbers of the service are within their bounds") {
  using Settings = plan::Settings;
  const auto number = [](uint32_t Settings::*member) {
    return [member](Block& block) -> uint32_t& { return block.policy->settings.*member; };
  };
  for (const auto& [member, low, high] :
       std::vector<std::tuple<uint32_t Settings::*, uint32_t, uint32_t>>{
           {&Settings::connections, 1, 1 << 20},
           {&Settings::kept_per_uid, 1, 1 << 20},
           {&Settings::keep_s, 1, 30 * 86400},
           {&Settings::spare_fronts, 1, 64}}) {
    bound<uint32_t>(number(member), low, low - 1);
    bound<uint32_t>(number(member), high, high + 1);
  }
  bound<uint32_t>(number(&Settings::confined_callers), 1, 2);
  bound<plan::CgroupChoice>(
      [](Block & block) -> auto& { return block.policy->settings.cgroup; },
      plan::CgroupChoice::none, plan::CgroupChoice::count_);
}

TEST_CASE("a quota is within its bounds, the common one and that of a rule") {
  using plan::Quota;
  for (const bool of_rule : {false, true}) {
    const auto quota = [of_rule](Block& block) -> Quota& {
      return of_rule ? block.rule().quota : block.policy->quota;
    };
    for (uint32_t Quota::*member :
         {&Quota::jobs, &Quota::connections, &Quota::spawns_per_s, &Quota::fds_in_flight})
      bound<uint32_t>([&](Block& block) -> uint32_t& { return quota(block).*member; }, 1 << 20,
                      (1 << 20) + 1);
    for (uint64_t Quota::*member : {&Quota::request_bytes, &Quota::output_bytes})
      bound<uint64_t>([&](Block& block) -> uint64_t& { return quota(block).*member; },
                      uint64_t{1} << 40, (uint64_t{1} << 40) + 1);
  }
}

TEST_CASE("a pool has ids that may be leased, in whole blocks") {
  const auto flaw = [](uint32_t first, uint32_t count, uint32_t block) {
    return flaw_of([&](Block& all) { all.policy->settings.lease = {first, count, block}; });
  };
  CHECK(flaw(65536, 100, 10) == Flaw::none);
  CHECK(flaw(65535, 100, 10) == Flaw::range);
  CHECK(flaw(65536, 101, 10) == Flaw::range);
  CHECK(flaw(65536, 1 << 24, 1 << 24) == Flaw::none);
  CHECK(flaw(65536, (1 << 24) + 1, (1 << 24) + 1) == Flaw::range);
  CHECK(flaw(65536, 100, 0) == Flaw::range);
  CHECK(flaw(0, 0, 10) == Flaw::none);
  CHECK(flaw(1, 0, 10) == Flaw::range);
  CHECK(flaw(UINT32_MAX - 10, 10, 10) == Flaw::none);
  CHECK(flaw(UINT32_MAX - 9, 10, 10) == Flaw::range);
  CHECK(flaw(UINT32_MAX, 10, 10) == Flaw::range);
}

TEST_CASE("texts are in the block and end in it; a path is absolute") {
  const auto long_text = [](size_t bytes, char first) {
    std::string text(bytes, 'x');
    text[0] = first;
    return text;
  };
  for (plan::Text plan::PolicyHeader::*text :
       {&plan::PolicyHeader::wrong_file, &plan::PolicyHeader::wrong_place,
        &plan::PolicyHeader::wrong_reason}) {
    const auto with = [&](size_t bytes) {
      return flaw_of([&](Block& block) {
        block.policy.header().*text = block.policy.text(long_text(bytes, 'x'));
      });
    };
    CHECK(with(plan::kMaxPolicyText - 1) == Flaw::none);
    CHECK(with(plan::kMaxPolicyText) == Flaw::count);
  }
  for (plan::Text plan::PolicyHeader::*path :
       {&plan::PolicyHeader::pasta, &plan::PolicyHeader::scratch}) {
    const auto with = [&](const std::string& text) {
      return flaw_of([&](Block& block) { block.policy.header().*path = block.policy.text(text); });
    };
    CHECK(with("/usr/bin/pasta") == Flaw::none);
    CHECK(with("usr/bin/pasta") == Flaw::text);
    CHECK(with(std::string("/a\0b", 4)) == Flaw::text);
    CHECK(with(long_text(plan::kMaxPolicyFile - 1, '/')) == Flaw::none);
    CHECK(with(long_text(plan::kMaxPolicyFile, '/')) == Flaw::count);
  }
  const auto moved = [](plan::Text text) {
    Copy block(Block().finish());
    block.header().wrong_reason = text;
    return block.flaw();
  };
  constexpr uint32_t kBody = sizeof(plan::PolicyHeader);
  const auto end = static_cast<uint32_t>(Block().finish().size());
  CHECK(moved({kBody, 0}) == Flaw::none);
  CHECK(moved({kBody - 1, 0}) == Flaw::text);
  CHECK(moved({0, 0}) == Flaw::text);
  CHECK(moved({end, 0}) == Flaw::text);
  CHECK(moved({UINT32_MAX, 1}) == Flaw::text);
}

TEST_CASE("a rule has a name that can stand in a record") {
  const auto named = [](const std::string& name) {
    return flaw_of([&](Block& block) {
      std::fill(std::begin(block.rule().name), std::end(block.rule().name), '\0');
      name.copy(block.rule().name, sizeof block.rule().name);
    });
  };
  CHECK(named("aZ09-_.") == Flaw::none);
  CHECK(named(std::string(plan::kMaxRuleName - 1, 'n')) == Flaw::none);
  CHECK(named(std::string(plan::kMaxRuleName, 'n')) == Flaw::text);
  for (const char* bad : {"", "a/b", "a b", "a\n", "\"", "\xc3\xa9"}) {
    CAPTURE(std::string(bad));
    CHECK(named(bad) == Flaw::text);
  }
}

TEST_CASE("numbers of a rule are within their bounds") {
  using plan::RuleRow;
  const auto number = [](uint32_t RuleRow::*member) {
    return [member](Block& block) -> uint32_t& { return block.rule().*member; };
  };
  for (uint32_t RuleRow::*truth :
       {&RuleRow::set_uid_files, &RuleRow::real_time, &RuleRow::unfiltered_seccomp,
        &RuleRow::detach, &RuleRow::require_no_new_privs, &RuleRow::require_baseline})
    bound<uint32_t>(number(truth), 1, 2);
  for (uint32_t RuleRow::*bits : {&RuleRow::namespaces_host, &RuleRow::required_namespaces})
    bound<uint32_t>(number(bits), 255, 256);
  constexpr uint32_t kUser = 1u << static_cast<uint32_t>(plan::Namespace::user);
  bound<uint32_t>(number(&RuleRow::namespaces_joined), 255 & ~kUser, 256);
  bound<uint32_t>(number(&RuleRow::namespaces_joined), 255 & ~kUser, kUser);
  bound<uint32_t>(number(&RuleRow::networks), 7, 8);
  bound<uint32_t>(number(&RuleRow::said), 31, 32);
  bound<uint32_t>(number(&RuleRow::rlimits_said), 0xffff, 0x10000);
  bound<uint64_t>([](Block& block) -> uint64_t& { return block.rule().limits.pids; },
                  plan::kMaxPids, plan::kMaxPids + 1);
  bound<uint64_t>([](Block& block) -> uint64_t& { return block.rule().limits.wall_time_ms; },
                  plan::kMaxTimeoutMs, plan::kMaxTimeoutMs + 1);
  bound<uint64_t>([](Block& block) -> uint64_t& { return block.rule().capabilities; },
                  (uint64_t{1} << 41) - 1, uint64_t{1} << 41);
  const auto nice = [](Block& block) -> int32_t& { return block.rule().nice; };
  bound<int32_t>(nice, -20, -21);
  bound<int32_t>(nice, 19, 20);
}

TEST_CASE("ids of a rule are ids, its ranges have a beginning and an end, its devices a kind") {
  for (std::vector<uint32_t> Block::*list : {&Block::users, &Block::groups}) {
    const auto with = [&](uint32_t id) {
      return flaw_of([&](Block& block) { block.*list = {5, id}; });
    };
    CHECK(with(UINT32_MAX - 1) == Flaw::none);
    CHECK(with(UINT32_MAX) == Flaw::range);
  }
  for (std::vector<plan::IdRange> Block::*list : {&Block::uids, &Block::gids}) {
    const auto with = [&](uint32_t first, uint32_t last) {
      return flaw_of([&](Block& block) { block.*list = {{1, 2}, {first, last}}; });
    };
    CHECK(with(7, 7) == Flaw::none);
    CHECK(with(8, 7) == Flaw::range);
    CHECK(with(0, UINT32_MAX - 1) == Flaw::none);
    CHECK(with(0, UINT32_MAX) == Flaw::range);
  }
  const auto node = [](uint32_t block_device) {
    return flaw_of([&](Block& block) { block.devices = {{UINT64_MAX, block_device, 0}}; });
  };
  CHECK(node(1) == Flaw::none);
  CHECK(node(2) == Flaw::range);
}

TEST_CASE("lines of subordinate ids have an owner and ids that are there") {
  for (std::vector<plan::SubordinateLine> Block::*list : {&Block::subuids, &Block::subgids}) {
    const auto with = [&](plan::SubordinateLine line) {
      return flaw_of([&](Block& block) { block.*list = {{1, 1, 1}, line}; });
    };
    CHECK(with({UINT32_MAX - 1, 1, 1}) == Flaw::none);
    CHECK(with({UINT32_MAX, 1, 1}) == Flaw::range);
    CHECK(with({7, 0, 1}) == Flaw::range);
    CHECK(with({7, 1, 0}) == Flaw::range);
    CHECK(with({7, 10, UINT32_MAX - 10}) == Flaw::none);
    CHECK(with({7, 11, UINT32_MAX - 10}) == Flaw::range);
  }
}

TEST_CASE("counts are within their bounds, the elements of all lists together") {
  const auto ids = [](uint32_t first, uint32_t second) {
    return flaw_of([&](Block& block) {
      block.users.resize(first);
      block.groups.resize(second);
    });
  };
  CHECK(ids(plan::kMaxRuleElements, 0) == Flaw::none);
  CHECK(ids(plan::kMaxRuleElements + 1, 0) == Flaw::count);
  CHECK(ids(plan::kMaxRuleElements - 1, 1) == Flaw::none);
  CHECK(ids(plan::kMaxRuleElements, 1) == Flaw::count);
  const auto rules = [](uint32_t count) {
    return flaw_of([&](Block& block) { block.rules.resize(count, block.rules[0]); });
  };
  CHECK(rules(plan::kMaxRules) == Flaw::none);
  CHECK(rules(plan::kMaxRules + 1) == Flaw::count);
  for (std::vector<plan::SubordinateLine> Block::*list : {&Block::subuids, &Block::subgids}) {
    const auto lines = [&](uint32_t count) {
      return flaw_of([&](Block& block) { (block.*list).resize(count, {1, 1, 1}); });
    };
    CHECK(lines(plan::kMaxSubordinates) == Flaw::none);
    CHECK(lines(plan::kMaxSubordinates + 1) == Flaw::count);
  }
}

TEST_CASE("arrays are in the block, behind its header, aligned") {
  const auto moved = [](uint32_t offset, uint32_t count) {
    Copy block(Block().finish());
    block.rule().users = {offset, count};
    return block.flaw();
  };
  constexpr uint32_t kBody = sizeof(plan::PolicyHeader);
  const auto end = static_cast<uint32_t>(Block().finish().size());
  CHECK(moved(kBody, 1) == Flaw::none);
  CHECK(moved(kBody + 4, 1) == Flaw::span);
  CHECK(moved(kBody - 8, 1) == Flaw::span);
  CHECK(moved(end - 8, 2) == Flaw::none);
  CHECK(moved(end - 8, 3) == Flaw::span);
  CHECK(moved(UINT32_MAX - 7, 1) == Flaw::span);
  CHECK(moved(UINT32_MAX, 0) == Flaw::none);  // of nothing
}

TEST_CASE("what cloister-config has read arrives at the monitor") {
  config::Config said;
  const auto wrong = config::parse_config(
      R"({"rules": [
            {"name": "one", "users": [0, 7], "groups": [],
             "allow": {"uids": ["10-20", 30], "gids": [5], "namespaces_joined": ["net"],
                       "namespaces_host": ["pid"], "network": ["none"], "devices": ["/dev/null"],
                       "capabilities": ["CAP_CHOWN", "CAP_KILL"], "set_uid_files": true,
                       "real_time": false, "nice": -3, "rlimits": {"RLIMIT_NOFILE": 12},
                       "limits": {"memory": "2M", "swap": 0, "pids": 7, "cpus": 1.5,
                                  "wall_time": "3s", "cpu_time": "4ms"},
                       "unfiltered_seccomp": true, "detach": false},
             "require": {"namespaces": ["mnt"], "no_new_privs": true, "seccomp_baseline": true},
             "quota": {"jobs": 3}},
            {"name": "two"}],
          "quota": {"jobs": 9, "request_bytes": 77},
          "max_connections": 11, "max_verdicts_per_uid": 12, "keep_verdicts_s": 13,
          "spare_fronts": 4, "allow_confined_callers": true, "pasta": "/p", "scratch": "/s",
          "lease": {"first": 100000, "count": 20, "block": 10}, "cgroup": "v1"})",
      said);
  REQUIRE(wrong.text().empty());
  said.subuids = {{1000, 200000, 10}};
  said.subgids = {{1000, 300000, 20}};
  said.settings.socket_group = 55;
  const Copy block(config::block_of(said, {}));
  REQUIRE(block.flaw() == Flaw::none);
  const monitor::Config read = monitor::config_of(plan::PolicyView(block.words.data()));
  CHECK(!read.wrong);
  CHECK(read.connections == 11);
  CHECK(read.kept_per_uid == 12);
  CHECK(read.keep == std::chrono::seconds(13));
  CHECK(read.spare_fronts == 4);
  CHECK(read.confined_callers == 1);
  CHECK(read.pasta == "/p");
  CHECK(read.scratch == "/s");
  CHECK(read.lease == plan::Pool{100000, 20, 10});
  CHECK(read.cgroup == plan::CgroupChoice::v1);
  CHECK(read.socket_group == 55);
  CHECK(read.subordinate.uids.of(1000) == std::vector<monitor::IdSpan>{{200000, 10}});
  CHECK(read.subordinate.gids.of(1000) == std::vector<monitor::IdSpan>{{300000, 20}});
  CHECK(read.policy.otherwise->quota.jobs == 9);
  CHECK(read.policy.otherwise->quota.request_bytes == 77);
  CHECK(read.policy.otherwise->name == "default");
  REQUIRE(read.policy.rules.size() == 2);
  const monitor::Rule& one = *read.policy.rules[0];
  CHECK(one.name == "one");
  REQUIRE(one.users);
  CHECK(*one.users == std::vector<uid_t>{0, 7});
  REQUIRE(one.groups);
  CHECK(one.groups->empty());
  CHECK(one.grants_uids(10, 20));
  CHECK(one.grants_uids(30, 30));
  CHECK(!one.grants_uids(20, 30));
  CHECK(one.grants_gids(5, 5));
  CHECK(one.grants_join(plan::Namespace::net));
  CHECK(!one.grants_join(plan::Namespace::mnt));
  CHECK(one.may_share(plan::Namespace::pid));
  CHECK(!one.may_share(plan::Namespace::net));
  CHECK(one.allows_network(monitor::Network::none));
  CHECK(!one.allows_network(monitor::Network::host));
  REQUIRE(one.devices);
  CHECK(*one.devices == std::vector<monitor::Device>{{false, 0x103}});
  CHECK(one.capabilities == (1u << 0 | 1u << 5));
  CHECK(one.set_uid_files);
  CHECK(one.real_time == false);
  CHECK(one.nice == -3);
  CHECK(one.rlimits[7] == 12u);
  CHECK(!one.rlimits[6]);
  CHECK(one.limits.memory == 2u << 20);
  CHECK(one.limits.swap == 1u);
  CHECK(one.limits.pids == 7u);
  CHECK(one.limits.cpu_us == 150'000u);
  CHECK(one.limits.wall_time_ms == 3000u);
  CHECK(one.limits.cpu_time_ms == 4u);
  CHECK(read.policy.rules[1]->limits.memory == 0u);
  CHECK(one.unfiltered_seccomp);
  CHECK(!one.detach);
  CHECK(one.requires_new(plan::Namespace::mnt));
  CHECK(one.require_no_new_privs);
  CHECK(one.require_baseline);
  CHECK(one.quota.jobs == 3);
  CHECK(one.quota.request_bytes == 77);
  const monitor::Rule& two = *read.policy.rules[1];
  CHECK((!two.users && !two.groups && !two.devices && !two.nice && !two.real_time));
  CHECK(two.detach);
  CHECK(two.allows_any_network());
  CHECK(two.namespaces_host == monitor::kAllNamespaces);
}

TEST_CASE("what is wrong arrives with its place, however it is written; the socket's group too") {
  config::Config said;
  said.settings.socket_group = 55;
  said.settings.connections = 2;
  const std::string place = std::string("a\0b", 3), reason(3u << 20, 'r');
  const Copy block(config::block_of(said, {"/etc/x", place, reason}));
  REQUIRE(block.flaw() == Flaw::none);
  const monitor::Config read = monitor::config_of(plan::PolicyView(block.words.data()));
  CHECK(read.wrong.file == "/etc/x");
  CHECK(read.wrong.place == "a?b");
  CHECK(read.wrong.reason.size() == plan::kMaxPolicyText - 1);
  CHECK(read.socket_group == 55);
  CHECK(read.connections == monitor::Config().connections);
}
