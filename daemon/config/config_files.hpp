// What cloister-config makes of the administrator's files: cloisterd.json(5),
// subuid(5) and subgid(5), as numbers. For the monitor they become a policy block
// (lib/plan/policy.hpp).
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "plan/misconfiguration.hpp"
#include "plan/policy.hpp"

namespace cloister::config {

using plan::Misconfiguration;

struct Rule {
  plan::RuleRow row;  // but for the lists below
  std::vector<uint32_t> users, groups;
  std::vector<plan::IdRange> uids, gids;
  std::vector<plan::DeviceNode> devices;
};

struct Config {
  plan::Settings settings;
  plan::Quota quota;
  std::vector<Rule> rules;
  std::string pasta, scratch;  // empty: nothing is said
  std::vector<plan::SubordinateLine> subuids, subgids;
};

// Fills `config` from `path`. Where anything is wrong `config` is what it was: an
// unknown or repeated member, a wrong type, an unknown user, a file that somebody
// other than `owner` could write.
Misconfiguration read_config(const std::string& path, uid_t owner, Config& config);
// The same of a text.
Misconfiguration parse_config(std::string_view text, Config& config);

// Adds what /etc/subuid and /etc/subgid say; lines that make no sense are told
// on standard error. Wrong are: files that others can write, in the service of
// root; and a pool of leases that has ids that are somebody's there.
Misconfiguration read_subordinate(bool of_root, Config& config);

// The policy block. With something `wrong`, only that and the socket's group count.
std::string block_of(const Config& config, const Misconfiguration& wrong);

}  // namespace cloister::config
