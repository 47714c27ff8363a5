#include "become.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "front_filter.hpp"
#include "sys/powers.hpp"
#include "sys/root.hpp"

namespace cloister::front {
namespace {

// To this, or to what it is below already.
bool limit(__rlimit_resource_t which, rlim_t value) {
  rlimit now{};
  if (::getrlimit(which, &now) < 0) return false;
  if (now.rlim_max < value) value = now.rlim_max;
  const rlimit both{value, value};
  return ::setrlimit(which, &both) == 0;
}

bool limit_memory() {
#ifdef __SANITIZE_ADDRESS__  // whose shadow is data as well
  return true;
#else
  return limit(RLIMIT_DATA, kMostMemory);
#endif
}

}  // namespace

bool confine() {
  static_assert(sizeof(sock_filter) == sizeof(plan::Instruction));
  const sock_fprog filter{
      static_cast<unsigned short>(std::size(kFrontFilter)),
      reinterpret_cast<sock_filter*>(const_cast<plan::Instruction*>(kFrontFilter))};
  // A Plan fits; a file of a client's that should grow does not.
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && limit(RLIMIT_FSIZE, plan::kMaxBytes) &&
         limit(RLIMIT_CORE, 0) && limit_memory() &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

bool become(const plan::Peer& peer, const std::vector<uint32_t>& groups) {
  if (sys::is_root()) {
    if (::setgroups(groups.size(), groups.data()) < 0 ||
        ::setresgid(peer.gid, peer.gid, peer.gid) < 0 ||
        ::setresuid(peer.uid, peer.uid, peer.uid) < 0)
      return false;
    uid_t real, effective, saved;
    if (::getresuid(&real, &effective, &saved) < 0) return false;
    if (real != peer.uid || effective != peer.uid || saved != peer.uid) {
      errno = EPERM;
      return false;
    }
  }
  // setresuid(2) away from 0 has cleared them; root's are given up here.
  if (!sys::keep_only(uint64_t{1} << CAP_DAC_READ_SEARCH)) return false;
  // Keys of whoever started the service are not the client's. A kernel without
  // keyrings has none to share.
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS)
    return false;
  // After the change of ids, which clears it. Who serves nobody any more ends.
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

}  // namespace cloister::front
