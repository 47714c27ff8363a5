// The JSON Schema of a request, generated from the field table. For the build,
// which installs it, and for tests.
#pragma once

#include <string>

namespace cloister::request {

std::string schema();

}  // namespace cloister::request
