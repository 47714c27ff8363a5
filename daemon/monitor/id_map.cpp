#include "id_map.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {
namespace {

// The kernel takes a map in one write(2). 0 or errno.
int write_file(pid_t pid, const char* file, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const sys::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  return ::write(fd.borrow(), text.data(), text.size()) < 0 ? errno : 0;
}

std::string lines(const std::vector<plan::IdMap>& map) {
  std::string text;
  for (const plan::IdMap& line : map)
    text += std::to_string(line.inside) + ' ' + std::to_string(line.outside) + ' ' +
            std::to_string(line.count) + '\n';
  return text;
}

}  // namespace

plan::Failure write_id_maps(pid_t init, const std::vector<plan::IdMap>& uids,
                            const std::vector<plan::IdMap>& gids, bool deny_setgroups) {
  int error = deny_setgroups ? write_file(init, "setgroups", "deny") : 0;
  if (!error) error = write_file(init, "gid_map", lines(gids));
  if (!error) error = write_file(init, "uid_map", lines(uids));
  return {error ? plan::Step::id_map : plan::Step::none, plan::kNone, error, 0};
}

}  // namespace cloister::monitor
