// The kernel's names that a request may use, and their values in this build's
// ABI. Signals are in lib/sys/names.hpp, since verdicts print them too.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sys/words.hpp"

namespace cloister::request {

using sys::capabilities;
using sys::name_of;
using sys::rlimits;
using sys::value_of;
using sys::Word;

std::span<const Word> policies();           // SCHED_*, sched_setscheduler(2)
std::span<const Word> open_flags();         // O_*, open(2); several bits first
std::span<const Word> unshare_flags();      // CLONE_* that name no namespace, unshare(2)
std::span<const Word> personality_flags();  // personality(2)
std::span<const Word> securebits();         // SECBIT_*, capabilities(7)
std::span<const Word> landlock_accesses();  // LANDLOCK_ACCESS_FS_*; groups of them first
std::span<const Word> landlock_scopes();    // LANDLOCK_SCOPE_*

std::string list_of(std::span<const Word> words);  // "A, B, C"

// True for the dotted name of a sysctl that each network namespace has of its
// own. Any other would be the host's, and cannot be set.
bool is_net_sysctl(std::string_view name);

}  // namespace cloister::request
