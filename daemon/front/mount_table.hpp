// The mounts of a Plan for people, in a dry run: what the payload finds in its
// own mountinfo, if each source and place is there.
#pragma once

#include "plan/view.hpp"
#include "varlink/envelope.hpp"

namespace cloister::front {

// `fields` names the part of the request that each is from.
varlink::Json mount_table(plan::View plan, const std::vector<std::string>& fields);

}  // namespace cloister::front
