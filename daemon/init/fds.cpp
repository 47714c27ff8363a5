// The client's descriptors: received from the front, never seen by the
// monitor, which gets only the kernel's facts about them.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/nsfs.h>
#include <linux/stat.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// SCM_MAX_FD is 253; an even count leaves no padding in which the kernel
// would deliver one more than asked.
constexpr uint32_t kBatch = 250;

void namespace_facts(int fd, plan::Fact& fact) {
  struct statfs kind {};
  if (call(Call::fstatfs, fd, &kind) < 0 || kind.f_type != kNsfsMagic) return;
  const long type = call(Call::ioctl, fd, NS_GET_NSTYPE);
  if (type < 0) return;
  fact.namespace_type = static_cast<uint32_t>(type);
  constexpr long kNewUser = 0x10000000;
  uint32_t owner = kNone;
  if (type == kNewUser) {
    if (call(Call::ioctl, fd, NS_GET_OWNER_UID, &owner) == 0) fact.namespace_owner = owner;
    return;
  }
  const long user = call(Call::ioctl, fd, NS_GET_USERNS);
  if (user < 0) return;  // EPERM: not below our user namespace, so nobody's to join
  if (call(Call::ioctl, user, NS_GET_OWNER_UID, &owner) == 0) fact.namespace_owner = owner;
  close(static_cast<int>(user));
}

plan::Fact fact_of(Job& job, uint32_t index) {
  const int fd = job.descriptors[index];
  struct stat status {};
  long looked = call(Call::fstat, fd, &status);
  if (looked == -EACCES) looked = look_as_caller(job, fd, status);
  must(job, Step::facts, looked, index);
  plan::Fact fact{};
  fact.index = index;
  fact.mode = status.st_mode;
  fact.device = status.st_dev;
  fact.inode = status.st_ino;
  fact.rdev = status.st_rdev;
  fact.uid = status.st_uid;
  fact.gid = status.st_gid;
  fact.open_flags =
      static_cast<uint32_t>(must(job, Step::facts, call(Call::fcntl, fd, F_GETFL), index));
  fact.domain = kNone;
  fact.namespace_owner = kNone;
  if (job.has(plan::kCoverKernel)) {
    struct statfs kind {};
    must(job, Step::facts, call(Call::fstatfs, fd, &kind), index);
    fact.filesystem = static_cast<uint32_t>(kind.f_type);
  }
  if (S_ISSOCK(status.st_mode)) {
    int domain = 0, size = sizeof domain;
    // Fails with ENOTSOCK on an O_PATH descriptor of a socket file.
    if (call(Call::getsockopt, fd, kSolSocket, kSoDomain, &domain, &size) == 0)
      fact.domain = static_cast<uint32_t>(domain);
  }
  // A namespace is a regular file; any other may be a device, whose driver is
  // not asked.
  if (S_ISREG(status.st_mode)) namespace_facts(fd, fact);
  return fact;
}

uint32_t receive_batch(Job& job, uint32_t have, uint32_t want) {
  await(job, plan::kPassedFd);
  char byte = 0;
  IoVec bytes{&byte, 1};
  PassedFds<kBatch> passed;
  Message message{nullptr, 0, &bytes, 1, &passed, sizeof passed, 0};
  const long got = call(Call::recvmsg, plan::kPassedFd, &message, kMsgCmsgCloexec | kMsgDontWait);
  if (got == -EAGAIN || got == -EINTR) return have;
  must(job, Step::descriptors, got, have);
  if (got == 0) fail(job, Step::descriptors, ECONNRESET, have);
  if (message.flags & kMsgCtrunc) fail(job, Step::descriptors, EMFILE, have);
  constexpr size_t kHead = offsetof(PassedFds<kBatch>, fds);
  if (message.control_length < kHead || passed.level != kSolSocket || passed.type != kScmRights)
    fail(job, Step::descriptors, EPROTO, have);
  const auto count = static_cast<uint32_t>((passed.length - kHead) / sizeof(int));
  if (count == 0 || count > want - have) fail(job, Step::descriptors, EPROTO, have);
  for (uint32_t i = 0; i < count; ++i) job.descriptors[have + i] = passed.fds[i];
  return have + count;
}

}  // namespace

void receive_descriptors(Job& job) {
  job.step = Step::descriptors;
  raise_descriptor_limit(job);
  const uint32_t want = job.header().descriptors.count;
  for (uint32_t have = 0; have < want;) have = receive_batch(job, have, want);
}

void report_facts(Job& job) {
  job.step = Step::facts;
  const uint32_t total = job.header().descriptors.count;
  if (total == 0) return;
  struct {
    plan::Report report;
    plan::Fact facts[plan::kFactsPerReport];
  } message;
  bool any = false;
  for (uint32_t done = 0; done < total;) {
    uint32_t count = 0;
    for (; count < plan::kFactsPerReport && done < total; ++done)
      if (plan::needs_fact(job.header(), job.plan().at(job.header().descriptors, done)))
        message.facts[count++] = fact_of(job, done);
    if (count == 0) continue;
    any = true;
    message.report = {plan::ReportKind::facts, count, 0, 0};
    must(job, Step::facts,
         call(Call::sendto, plan::kControlFd, &message,
              sizeof message.report + count * sizeof(plan::Fact), kMsgNoSignal));
  }
  if (!any) return;
  await_proceed(job, Step::facts);
}

long offer_to_front(int channel, int fd, char what) {
  IoVec bytes{&what, 1};
  PassedFds<1> passed{offsetof(PassedFds<1>, fds) + sizeof(int), kSolSocket, kScmRights, {fd}};
  const Message message{nullptr, 0, &bytes, 1, &passed, sizeof passed, 0};
  return call(Call::sendmsg, channel, &message, kMsgNoSignal | kMsgDontWait);
}

}  // namespace cloister::init
