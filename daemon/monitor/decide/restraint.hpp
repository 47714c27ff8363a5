// What a job must not leave behind, and what it does not reach outside of itself:
// decided here, and kept by init (Order::restraint, scoped, confined_fs).
#pragma once

#include "decide/authorise.hpp"

namespace cloister::monitor {

// A job that has a namespace of its own, or another job's.
bool is_box(const plan::Header& plan);

// `so_far` has its ids and joins. `kind == none`: `order` is complete.
plan::Refusal restrain(const Peer& peer, const Rule& rule, plan::View plan, const Setting& setting,
                       const Approved& so_far, plan::Order& order);

}  // namespace cloister::monitor
