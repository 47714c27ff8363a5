// Jobs that have ended, made by hand: what the table of jobs keeps.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>

#include "admit/fronts.hpp"
#include "life/job_table.hpp"
#include "outcome.hpp"
#include "plan/builder.hpp"

namespace cloister::test {

using namespace monitor;

// A memfd that is sealed as a front seals it.
inline sys::UniqueFd sealed(const std::string& block) {
  sys::UniqueFd memfd = new_plan();
  REQUIRE(memfd);
  REQUIRE(::write(memfd.borrow(), block.data(), block.size()) ==
          static_cast<ssize_t>(block.size()));
  REQUIRE(::fcntl(memfd.borrow(), F_ADD_SEALS,
                  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
  return memfd;
}

struct Made {
  uid_t owner = 1000;
  std::string name = "job", key;
  size_t request_bytes = 0;
  std::chrono::seconds ended{100};
};

// Adds it as one of which nothing lives, and that has been told to have ended.
inline JobId add_kept(JobTable& table, const Made& made, uint32_t most = 1000) {
  static uint64_t serial = 0;
  plan::JobState state{};
  state.serial = ++serial;
  std::memcpy(state.job, &serial, sizeof serial);
  state.owner = made.owner;
  state.phase = state.event = plan::JobPhase::ended;
  plan::Builder plan;
  plan->name = plan.text(made.name);
  if (!made.key.empty()) plan->idempotency_key = plan.text(made.key);
  plan->request_json = plan.text(std::string(made.request_bytes, 'r'));
  const std::string block = plan.finish();
  const auto bytes = bytes_of_plan(static_cast<uint32_t>(block.size()));
  JobTable::Entry& entry = table.add(state, Labels(plan::View(block.data())), bytes);
  entry.kept = std::make_unique<Kept>(state, sealed(block), Outputs(), made.ended);
  table.ended(entry, most);
  return id_of(state.job);
}

inline JobTable::Entry* find(JobTable& table, const JobId& id, const Peer& peer) {
  uint8_t raw[16];
  std::copy(id.begin(), id.end(), raw);
  return table.find(raw, peer);
}

inline Peer user(uid_t uid) {
  Peer peer;
  peer.uid = uid;
  return peer;
}

}  // namespace cloister::test
