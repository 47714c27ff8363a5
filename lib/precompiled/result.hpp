// For those who return results: standard.hpp, and Boost.System.
#include <boost/system/result.hpp>

#include "standard.hpp"
