// The vocabulary: ids and namespaces. See table.hpp.
#include "table.hpp"

namespace cloister::request {
namespace {

constexpr OneOf kNamespace{Bareword<NewNamespace>{"new"}, Bareword<HostNamespace>{"host"}, kPassed,
                           keyed<JobNamespace>("job", Through{&JobNamespace::id, kName})};

constexpr OneOf kUserNamespace{Bareword<AutoNamespace>{"auto"}, Bareword<NewNamespace>{"new"},
                               Bareword<HostNamespace>{"host"}, kPassed,
                               keyed<JobNamespace>("job", Through{&JobNamespace::id, kName})};

}  // namespace

template <>
const Table& table<Ids>() {
  static constexpr UserOrGroup kId{};
  static constexpr Line kRows[] = {
      Field{"ruid", &Ids::ruid, kId, "the caller's if absent"},
      Field{"euid", &Ids::euid, kId, "ruid if absent"},
      Field{"suid", &Ids::suid, kId, "euid if absent; execve(2) sets it to euid"},
      Field{"rgid", &Ids::rgid, kId, "the caller's if absent"},
      Field{"egid", &Ids::egid, kId, "rgid if absent"},
      Field{"sgid", &Ids::sgid, kId, "egid if absent; execve(2) sets it to egid"},
      Field{"groups", &Ids::groups, List<UserOrGroup>{kId, 0, plan::kMaxGroups},
            "exactly these; absent: the caller's if all ids are the caller's, else none"},
      Field{"initgroups", &Ids::initgroups, Text{256},
            "instead of groups: those of this user, and egid"}};
  static constexpr Table kTable{kRows, broken_rule<Ids>};
  return kTable;
}

template <>
const Table& table<Namespaces>() {
  static constexpr const char* kHost = R"("host")";
  static constexpr Line kRows[] = {
      Field{"mnt", &Namespaces::mnt, kNamespace, "mount_namespaces(7)", Merge::replace, kHost},
      Field{"pid", &Namespaces::pid, kNamespace, "pid_namespaces(7)", Merge::replace, kHost},
      Field{"net", &Namespaces::net, kNamespace, "network_namespaces(7)", Merge::replace, kHost},
      Field{"ipc", &Namespaces::ipc, kNamespace, "ipc_namespaces(7)", Merge::replace, kHost},
      Field{"uts", &Namespaces::uts, kNamespace, "uts_namespaces(7)", Merge::replace, kHost},
      Field{"cgroup", &Namespaces::cgroup, kNamespace, "cgroup_namespaces(7)", Merge::replace,
            kHost},
      Field{"user", &Namespaces::user, kUserNamespace, "user_namespaces(7)", Merge::replace,
            R"("auto")"},
      Field{"time", &Namespaces::time, kNamespace, "time_namespaces(7)", Merge::replace, kHost}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<IdMapping>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"inside", &IdMapping::inside, kHostId, "the first id in the namespace"}),
      kRequired(Field{"outside", &IdMapping::outside, kHostId, "the first id out of it"}),
      kRequired(Field{"count", &IdMapping::count, Integer{1, UINT32_MAX}, "how many in a row"})};
  static constexpr Table kTable{kRows, broken_rule<IdMapping>};
  return kTable;
}

template <>
const Table& table<TimeOffsets>() {
  static constexpr Line kRows[] = {
      Field{"boottime_ns", &TimeOffsets::boottime_ns, kOffset, "added to CLOCK_BOOTTIME"},
      Field{"monotonic_ns", &TimeOffsets::monotonic_ns, kOffset, "added to CLOCK_MONOTONIC"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

}  // namespace cloister::request
