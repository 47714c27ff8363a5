// Rules of routing in the network namespace that this process has made.
#pragma once

#include "job.hpp"

namespace cloister::init {

void close_metadata_services(Job& job);

}  // namespace cloister::init
