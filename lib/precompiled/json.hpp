// For those who read or write JSON.
#include <nlohmann/json.hpp>

#include "result.hpp"
