// Kernel words that this program needs and that the headers of Debian 12
// (Linux 6.1) give only together with a C library, or not at all.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace cloister::init {

inline constexpr int kSigKill = 9, kSigChld = 17, kSigCont = 18, kSigStop = 19, kSigSys = 31,
                     kSignals = 64;
inline constexpr size_t kSigSetBytes = 8;

// struct kernel_sigaction, as rt_sigaction(2) reads it.
struct SignalAction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};

struct PollFd {
  int fd;
  short events;
  short revents;
};
inline constexpr short kPollIn = 1, kPollHup = 16;

struct IoVec {
  void* base;
  size_t length;
};

// struct user_msghdr and struct cmsghdr, 64-bit.
struct Message {
  void* name;
  int name_length;
  IoVec* vector;
  size_t vector_length;
  void* control;
  size_t control_length;
  unsigned flags;
};

template <size_t Count>
struct PassedFds {
  size_t length;
  int level;
  int type;
  int fds[Count];
};

inline constexpr int kSolSocket = 1, kScmRights = 1, kSoReuseAddr = 2, kSoDomain = 39;
inline constexpr int kMsgDontWait = 0x40, kMsgNoSignal = 0x4000, kMsgCtrunc = 8, kMsgTrunc = 0x20;
inline constexpr unsigned kMsgCmsgCloexec = 0x40000000;
inline constexpr int kAfUnix = 1, kAfInet = 2, kAfNetlink = 16;
inline constexpr int kSockStream = 1, kSockDgram = 2, kSockRaw = 3, kSockSeqpacket = 5,
                     kSockCloexec = 02000000;

// struct ifreq as SIOCSIFFLAGS reads it, netdevice(7); <linux/if.h> wants a C library.
struct InterfaceFlags {
  char name[16];
  short flags;
  char unused[22];
};
static_assert(sizeof(InterfaceFlags) == 40);
inline constexpr short kInterfaceUp = 1;  // IFF_UP

inline constexpr long kProcMagic = 0x9fa0, kNsfsMagic = 0x6e736673;

}  // namespace cloister::init
