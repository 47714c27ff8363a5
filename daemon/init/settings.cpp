// What is set inside the namespaces that were made: never in the host's own.
#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>

#include "kernel.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// The sysctls that a namespace has of its own, namespaces(7). Any other would
// be the host's.
bool is_ours(const Job& job, const char* path) {
  if (starts_with(path, "net/")) return job.fresh(Namespace::net);
  constexpr const char* kIpc[] = {"kernel/msg", "kernel/shm", "kernel/sem", "fs/mqueue/"};
  for (const char* ipc : kIpc)
    if (starts_with(path, ipc)) return job.fresh(Namespace::ipc);
  return false;
}

}  // namespace

void bring_loopback_up(Job& job) {
  // That of an outbound network is up already.
  if (!(job.header().flags & plan::kLoopbackUp) || job.outbound()) return;
  if (!job.fresh(Namespace::net)) fail(job, Step::loopback, EINVAL);
  if (!job.net_made) raise_loopback(job);  // or it was, with the namespace
}

void name_host(Job& job) {
  const plan::Header& h = job.header();
  const bool own = job.fresh(Namespace::uts);
  if (h.hostname.length) {
    if (!own) fail(job, Step::hostname, EINVAL);
    must(job, Step::hostname,
         call(Call::sethostname, job.plan().c_str(h.hostname), h.hostname.length));
  }
  if (h.domainname.length) {
    if (!own) fail(job, Step::domainname, EINVAL);
    must(job, Step::domainname,
         call(Call::setdomainname, job.plan().c_str(h.domainname), h.domainname.length));
  }
}

// /proc/sys/net and the IPC files show the namespaces of who opens them, so
// init's own procfs will do, whatever the sandbox has.
void set_sysctls(Job& job) {
  const plan::Header& h = job.header();
  if (h.sysctls.count == 0) return;
  const int root = must_fd(job, Step::sysctl,
                           call(Call::openat, job.proc, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (uint32_t i = 0; i < h.sysctls.count; ++i) {
    const plan::Sysctl& sysctl = job.plan().at(h.sysctls, i);
    const char* path = job.plan().c_str(sysctl.path);
    if (!is_ours(job, path)) fail(job, Step::sysctl, EPERM, i);
    // No "..": the prefix above has to be the whole truth.
    open_how how{O_WRONLY | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    for (const char* at = path; *at; ++at)
      if (starts_with(at, "..")) fail(job, Step::sysctl, EINVAL, i);
    const int fd = must_fd(job, Step::sysctl, open_by_rules(root, path, how), i);
    must(job, Step::sysctl,
         call(Call::write, fd, job.plan().c_str(sysctl.value), sysctl.value.length), i);
    close(fd);
  }
  close(root);
}

}  // namespace cloister::init
