// For those who speak JSON to many at once.
#include "asio.hpp"
#include "json.hpp"
