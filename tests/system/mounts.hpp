// Trees asked for, and what is mounted in them, in the system tests.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include "mountinfo.hpp"
#include "reading.hpp"

namespace cloister::system_test {

// Of the refusal: the field, and the word for why.
struct Refused {
  std::string error, field, errno_name;
};

inline Refused refused(Client& client, const Json& request, const std::vector<int>& fds = {}) {
  Outcome outcome = client.run(request, fds);
  INFO(request.dump());
  INFO(outcome.told());
  CHECK(outcome.out.empty());
  if (!outcome.error.empty()) {
    const Json& p = outcome.parameters;
    return {outcome.error, p.value("field", p.value("feature", "")), p.value("errno_name", "")};
  }
  REQUIRE(outcome.verdict["ending"] == "not_started");
  const Json& failure = outcome.verdict["failure"];
  return {"not_started", failure["field"], failure["errno_name"]};
}

inline Json words(Json request, const std::vector<std::string>& arguments) {
  request["argv"] = {"probe"};
  for (const std::string& word : arguments) request["argv"].push_back(word);
  return request;
}

inline Json mounted(Json request, const Json& mount) {
  request["mounts"].push_back(mount);
  return request;
}

// What is mounted at a place, seen from inside; the topmost.
inline MountLine mount_at(Client& client, const Json& request, const std::string& at,
                          const std::vector<int>& fds = {}) {
  MountLine last;
  for (const MountLine& line : mounts_of(report_of(client, words(request, {}), fds)))
    if (line.point == at) last = line;
  return last;
}

inline Fd open_at(const std::string& path, int flags) {
  return Fd(check(open(path.c_str(), flags | O_CLOEXEC), path.c_str()));
}

// Gives it to `way`'s user, recursively: rootless, nobody else has a number.
inline void give(Way way, const std::string& path) {
  const Who& who = World::get().who(way);
  REQUIRE(command({"chown", "-R", std::to_string(who.uid) + ':' + std::to_string(who.gid), path}) ==
          0);
}

// A root directory with the probe in it, of `way`'s user.
inline std::string small_root(Way way) {
  World& world = World::get();
  const std::string root = world.directory_of(world.who(way));
  REQUIRE(command({"cp", world.probe(), root + "/probe"}) == 0);
  for (const char* name : {"/proc", "/dev", "/data"}) mkdir((root + name).c_str(), 0755);
  write_file(root + "/data/file", "of the tree", 0666);
  for (const char* name : {"", "/data"}) REQUIRE(chmod((root + name).c_str(), 0777) == 0);
  give(way, root);
  return root;
}

// Nothing of a profile's but the namespaces.
inline Json bare_request(const std::vector<std::string>& arguments = {}) {
  Json request = {
      {"profile", "default"}, {"executable", "/probe"}, {"argv", {"probe"}}, {"unset", {"mounts"}}};
  return arguments.empty() ? request : words(request, arguments);
}

}  // namespace cloister::system_test
