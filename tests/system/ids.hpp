// Subordinate and leased ids in the system tests.
#pragma once

#include <cstdio>
#include <utility>

#include "reading.hpp"

namespace cloister::system_test {

// "0 100000 65536" of a line of /proc/PID/uid_map.
inline Json lines_of(const Json& map) {
  Json out = Json::array();
  for (const auto& line : map) {
    unsigned inside, outside, count;
    REQUIRE(std::sscanf(line.get<std::string>().c_str(), "%u %u %u", &inside, &outside, &count) ==
            3);
    out.push_back({inside, outside, count});
  }
  return out;
}

// In namespaces of its own, as a leased job has to be, with both maps.
inline Json subordinate_request(const std::vector<std::string>& arguments = {}) {
  return with(
      World::get().boxed_request(arguments),
      {{"namespaces", {{"user", "new"}}}, {"uid_map", "subordinate"}, {"gid_map", "subordinate"}});
}

// A job that stays until it is stopped.
struct Held {
  Client& client;
  std::string id;
  pid_t pid = 0;

  Held(Client& of, Json request) : client(of) {
    request["argv"] = {"probe", "hold"};
    // The ids of a job that has ended are free a moment later.
    Reply reply;
    eventually([&] {
      reply = client.call("Start", {{"request", request}});
      return reply.error != "Busy";
    });
    INFO(reply.error);
    INFO(reply.parameters.dump());
    REQUIRE(reply.error == "");
    id = reply.parameters["id"];
    pid = reply.parameters["pid"].get<pid_t>();
  }
  void stop() {
    if (id.empty()) return;
    client.call("Stop", {{"id", id}, {"timeout", "0s"}});
    client.call("Remove", {{"id", std::exchange(id, "")}});
  }
  ~Held() { stop(); }
};

}  // namespace cloister::system_test
