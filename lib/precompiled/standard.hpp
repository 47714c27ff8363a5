// What nearly all files include of the standard library, compiled once a library or
// program. No file relies on it: each includes what it uses, and -Db_pch=false
// builds without. No guard: a header that is compiled itself must not have one.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>
