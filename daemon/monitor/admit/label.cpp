#include "admit/label.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {
namespace {

// AppArmor: "PROFILE (MODE)", apparmor(7). No label of the others ends so.
struct Profile {
  std::string name, mode;
};
Profile profile_of(const std::string& label) {
  const size_t open = label.rfind(" (");
  if (open == std::string::npos || !label.ends_with(')')) return {};
  return {label.substr(0, open), label.substr(open + 2, label.size() - open - 3)};
}

// SELinux: USER:ROLE:TYPE[:LEVEL], selinux(8).
std::string type_of(const std::string& label) {
  const size_t user = label.find(':');
  const size_t role = user == std::string::npos ? user : label.find(':', user + 1);
  if (role == std::string::npos) return {};
  return label.substr(role + 1, label.find(':', role + 1) - role - 1);
}

}  // namespace

std::string label_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/attr/current";
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t size = fd ? ::read(fd.borrow(), text, sizeof text) : -1;
  if (size < 0) {
    // EINVAL: nobody labels processes. As a user we may not look at one that is
    // not dumpable; it is ourselves, see Surroundings::confinement_of().
    const bool hidden = (errno == EACCES || errno == EPERM) && ::geteuid() == 0;
    return hidden ? "?" : "";
  }
  std::string label(text, static_cast<size_t>(size));
  while (!label.empty() && (label.back() == '\n' || label.back() == '\0')) label.pop_back();
  return label;
}

bool is_confined(const std::string& label) {
  if (label.empty() || label == "unconfined" || label == "kernel" || label == "_") return false;
  if (const Profile profile = profile_of(label); !profile.mode.empty())
    return profile.mode != "complain" && profile.mode != "unconfined";
  const std::string type = type_of(label);
  return type != "unconfined_t" && type != "unconfined_service_t" && type != "kernel_t";
}

std::string exec_word(const std::string& label) {
  const Profile profile = profile_of(label);
  return profile.mode.empty() ? label : "exec " + profile.name;
}

}  // namespace cloister::monitor
