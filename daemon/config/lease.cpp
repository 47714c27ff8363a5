// The pool of ids that are leased.
#include "values.hpp"

namespace cloister::config {
namespace {

using plan::Pool;

constexpr int64_t kEnd = int64_t{plan::kHighestId} + 1;

constexpr Member<Pool> kPool[] = {
    {"first",
     [](auto& at, auto& value, Pool& pool) {
       pool.first = static_cast<uint32_t>(whole(at, value, plan::kLowestLease, kEnd - 1));
     }},
    {"count",
     [](auto& at, auto& value, Pool& pool) {
       pool.count = static_cast<uint32_t>(whole(at, value, 1, kEnd - plan::kLowestLease));
     }},
    {"block",
     [](auto& at, auto& value, Pool& pool) {
       pool.block = static_cast<uint32_t>(whole(at, value, 1, plan::kMaxLeaseBlock));
     }},
};

}  // namespace

Pool pool(const std::string& member, const json& value) {
  Pool pool;
  read_members(member, value, kPool, pool);
  if (pool.first == 0 || pool.count == 0) wrong(member, "needs first and count");
  if (pool.count % pool.block != 0) wrong(member + ".count", "is not a multiple of block");
  if (pool.count > kEnd - pool.first) wrong(member, "reaches past the last id");
  return pool;
}

}  // namespace cloister::config
