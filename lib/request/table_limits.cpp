// The vocabulary: network, privileges, limits and lifetime. See table.hpp.
#include "table.hpp"

namespace cloister::request {
namespace {

constexpr Choice<Protocol, 2> kProtocol{{{"tcp", Protocol::tcp}, {"udp", Protocol::udp}}};

constexpr Choice<OnOom, 2> kOnOom{
    {{"kill_job", OnOom::kill_job}, {"kill_process", OnOom::kill_process}}};

constexpr Choice<OnDisconnect, 3> kOnDisconnect{
    {{"kill", OnDisconnect::kill}, {"stop", OnDisconnect::stop}, {"keep", OnDisconnect::keep}}};

}  // namespace

template <>
const Table& table<PublishedPort>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"port", &PublishedPort::port, kPort, "of the job"}),
      Field{"host_port", &PublishedPort::host_port, kPort, "the same number if absent"},
      Field{"address", &PublishedPort::address, Text{45},
            "of the host, to listen at; 127.0.0.1 if absent"},
      Field{"protocol", &PublishedPort::protocol, kProtocol, "tcp if absent"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Outbound>() {
  static constexpr Line kRows[] = {Field{"publish", &Outbound::publish,
                                         List<Object<PublishedPort>>{{}, 0, 64},
                                         "ports of the host that lead into the job"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Capabilities>() {
  static constexpr CapabilitySet kSet{};
  static constexpr Line kRows[] = {
      Field{"bounding", &Capabilities::bounding, kSet, "none if absent"},
      Field{"effective", &Capabilities::effective, kSet, "permitted if absent"},
      Field{"permitted", &Capabilities::permitted, kSet, "none if absent"},
      Field{"inheritable", &Capabilities::inheritable, kSet, "none if absent"},
      Field{"ambient", &Capabilities::ambient, kSet, "what survives execve(2); none if absent"},
      Field{"securebits", &Capabilities::securebits, Mask{request::securebits, "a securebit"},
            "none if absent"}};
  static constexpr Table kTable{kRows, broken_rule<Capabilities>};
  return kTable;
}

template <>
const Table& table<LandlockPath>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"path", &LandlockPath::path, kAbsolutePath, "inside the new root"}),
      kRequired(Field{"access", &LandlockPath::access, Mask{landlock_accesses, "an access"},
                      "the accesses allowed there and below"})};
  static constexpr Table kTable{kRows, broken_rule<LandlockPath>};
  return kTable;
}

template <>
const Table& table<Landlock>() {
  static constexpr List<Integer> kPorts{kPort, 0, plan::kMaxLandlockPorts};
  static constexpr Line kRows[] = {
      Field{"paths", &Landlock::paths, List<Object<LandlockPath>>{{}, 0, plan::kMaxLandlockPaths},
            "files: all that no rule allows is refused"},
      Field{"bind_tcp", &Landlock::bind_tcp, kPorts, "ports that may be bound, ABI 4"},
      Field{"connect_tcp", &Landlock::connect_tcp, kPorts, "ports that may be connected to, ABI 4"},
      Field{"scopes", &Landlock::scopes, Mask{landlock_scopes, "a scope"},
            "confined to the job, ABI 6"}};
  static constexpr Table kTable{kRows, broken_rule<Landlock>};
  return kTable;
}

template <>
const Table& table<Rlimit>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"soft", &Rlimit::soft, LimitValue{}, "the limit in force"}),
      kRequired(Field{"hard", &Rlimit::hard, LimitValue{}, "how far soft may be raised"})};
  static constexpr Table kTable{kRows, broken_rule<Rlimit>};
  return kTable;
}

template <>
const Table& table<Limits>() {
  static constexpr Line kRows[] = {
      Field{"memory", &Limits::memory, Size{4096}, "of the whole job"},
      Field{"swap", &Limits::swap, Size{}, "beside the memory; needs memory"},
      Field{"pids", &Limits::pids, Integer{1, plan::kMaxPids}, "processes and threads"},
      Field{"cpus", &Limits::cpus, Number{0.001, 65536}, "processors' worth of time"},
      Field{"wall_time", &Limits::wall_time, Duration{1},
            "from exec on; then the job is stopped as by Stop"},
      Field{"cpu_time", &Limits::cpu_time, Duration{1},
            "of all its processes; then the job is stopped as by Stop"},
      Field{"on_oom", &Limits::on_oom, kOnOom,
            "what ends when memory is short, kill_job if absent; needs memory"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Lifetime>() {
  static constexpr Line kRows[] = {
      Field{"on_disconnect", &Lifetime::on_disconnect, kOnDisconnect,
            "when the caller's connection ends; kill for Run, keep for Start if absent"},
      Field{"stop_signal", &Lifetime::stop_signal, Signal{}, "how Stop begins", Merge::replace,
            R"("SIGTERM")"},
      Field{"stop_timeout", &Lifetime::stop_timeout, Duration{}, "from stop_signal to SIGKILL",
            Merge::replace, R"("5s")"},
      Field{"setup_timeout", &Lifetime::setup_timeout, Duration{}, "from acceptance to exec",
            Merge::replace, R"("10s")"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

}  // namespace cloister::request
