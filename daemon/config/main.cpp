// cloister-config: reads what the administrator says, for cloisterd, which has
// neither a parser nor the user database in its memory.
//
//   cloister-config system [FILE]   for the service of root
//   cloister-config own [FILE]      for a user's own, and in private mode
//
// FILE is cloisterd.json(5); without it there is none. Descriptor 3 is the memfd
// that takes the policy block (lib/plan/policy.hpp). Exit status: 0 when it is
// written, also when it says what is wrong.
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "config_files.hpp"
#include "sys/powers.hpp"
#include "sys/root.hpp"

namespace cloister::config {
namespace {

int fail(const char* what) {
  std::fprintf(stderr, "cloister-config: %s: %s\n", what, std::strerror(errno));
  return EX_OSERR;
}

// The files are root's, whatever directory they are in; the user database is
// asked as by anybody. And who would wait for us takes us along.
bool confine() {
  sys::is_root();  // asked while it can be told
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         sys::keep_only(uint64_t{1} << CAP_DAC_READ_SEARCH);
}

Misconfiguration read(bool of_root, const char* file, Config& config) {
  Misconfiguration wrong;
  if (file) wrong = read_config(file, ::geteuid(), config);
  if (!wrong) wrong = read_subordinate(of_root, config);
  // Also where something is wrong: who is in the group is told so.
  if (of_root)
    if (const group* owners = ::getgrnam("cloister")) config.settings.socket_group = owners->gr_gid;
  return wrong;
}

bool write_whole(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(plan::kPolicyFd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

int run(int argc, char** argv) {
  const std::string_view whose = argc > 1 ? argv[1] : "";
  if (argc > 3 || (whose != "system" && whose != "own")) {
    std::fputs("cloister-config is started by cloisterd(8) only.\n", stderr);
    return EX_USAGE;
  }
  if (!confine()) return fail("cannot confine itself");
  Config config;
  const Misconfiguration wrong = read(whose == "system", argc > 2 ? argv[2] : nullptr, config);
  if (!write_whole(block_of(config, wrong))) return fail("cannot write what it has read");
  return EX_OK;
}

}  // namespace
}  // namespace cloister::config

int main(int argc, char** argv) { return cloister::config::run(argc, argv); }
