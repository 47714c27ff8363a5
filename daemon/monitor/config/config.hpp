// Config: root's own word, cloisterd.json(5), as the monitor holds it: numbers,
// which cloister-config has made of names and files (lib/plan/policy.hpp).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "decide/policy.hpp"
#include "decide/subordinate.hpp"
#include "plan/misconfiguration.hpp"
#include "plan/policy.hpp"

namespace cloister::monitor {

using plan::Misconfiguration;

struct Config : plan::Settings {
  std::chrono::seconds keep{keep_s};  // verdicts
  Policy policy;
  std::string pasta = "/usr/bin/pasta";  // for outbound networks
  std::string scratch;                   // for directories on disk; empty: the usual place
  SubordinateIds subordinate;
  Misconfiguration wrong;  // if there is one, the rest says nothing but socket_group
};

// What a block that check_policy() has accepted says.
Config config_of(const plan::PolicyView& said);

}  // namespace cloister::monitor
