#include "sys/names.hpp"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include <charconv>

namespace cloister::sys {
namespace {

struct Name {
  int number;
  std::string_view text;
};

// clang-format off
#define N(name) {name, #name}

// Where a number has two names, the first one is printed.
constexpr Name kSignals[] = {
    N(SIGHUP),  N(SIGINT),  N(SIGQUIT), N(SIGILL),    N(SIGTRAP), N(SIGABRT), N(SIGBUS),
    N(SIGFPE),  N(SIGKILL), N(SIGUSR1), N(SIGSEGV),   N(SIGUSR2), N(SIGPIPE), N(SIGALRM),
    N(SIGTERM), N(SIGSTKFLT), N(SIGCHLD), N(SIGCONT), N(SIGSTOP), N(SIGTSTP), N(SIGTTIN),
    N(SIGTTOU), N(SIGURG),  N(SIGXCPU), N(SIGXFSZ),   N(SIGVTALRM), N(SIGPROF), N(SIGWINCH),
    N(SIGIO),   N(SIGPWR),  N(SIGSYS),  N(SIGIOT),    N(SIGPOLL), {SIGCHLD, "SIGCLD"},
};

constexpr Name kErrors[] = {
    N(EPERM), N(ENOENT), N(ESRCH), N(EINTR), N(EIO), N(ENXIO), N(E2BIG), N(ENOEXEC), N(EBADF),
    N(ECHILD), N(EAGAIN), N(ENOMEM), N(EACCES), N(EFAULT), N(ENOTBLK), N(EBUSY), N(EEXIST),
    N(EXDEV), N(ENODEV), N(ENOTDIR), N(EISDIR), N(EINVAL), N(ENFILE), N(EMFILE), N(ENOTTY),
    N(ETXTBSY), N(EFBIG), N(ENOSPC), N(ESPIPE), N(EROFS), N(EMLINK), N(EPIPE), N(EDOM), N(ERANGE),
    N(EDEADLK), N(ENAMETOOLONG), N(ENOLCK), N(ENOSYS), N(ENOTEMPTY), N(ELOOP), N(ENOMSG), N(EIDRM),
    N(ECHRNG), N(EL2NSYNC), N(EL3HLT), N(EL3RST), N(ELNRNG), N(EUNATCH), N(ENOCSI), N(EL2HLT),
    N(EBADE), N(EBADR), N(EXFULL), N(ENOANO), N(EBADRQC), N(EBADSLT), N(EBFONT), N(ENOSTR),
    N(ENODATA), N(ETIME), N(ENOSR), N(ENONET), N(ENOPKG), N(EREMOTE), N(ENOLINK), N(EADV),
    N(ESRMNT), N(ECOMM), N(EPROTO), N(EMULTIHOP), N(EDOTDOT), N(EBADMSG), N(EOVERFLOW), N(ENOTUNIQ),
    N(EBADFD), N(EREMCHG), N(ELIBACC), N(ELIBBAD), N(ELIBSCN), N(ELIBMAX), N(ELIBEXEC), N(EILSEQ),
    N(ERESTART), N(ESTRPIPE), N(EUSERS), N(ENOTSOCK), N(EDESTADDRREQ), N(EMSGSIZE), N(EPROTOTYPE),
    N(ENOPROTOOPT), N(EPROTONOSUPPORT), N(ESOCKTNOSUPPORT), N(EOPNOTSUPP), N(EPFNOSUPPORT),
    N(EAFNOSUPPORT), N(EADDRINUSE), N(EADDRNOTAVAIL), N(ENETDOWN), N(ENETUNREACH), N(ENETRESET),
    N(ECONNABORTED), N(ECONNRESET), N(ENOBUFS), N(EISCONN), N(ENOTCONN), N(ESHUTDOWN),
    N(ETOOMANYREFS), N(ETIMEDOUT), N(ECONNREFUSED), N(EHOSTDOWN), N(EHOSTUNREACH), N(EALREADY),
    N(EINPROGRESS), N(ESTALE), N(EUCLEAN), N(ENOTNAM), N(ENAVAIL), N(EISNAM), N(EREMOTEIO),
    N(EDQUOT), N(ENOMEDIUM), N(EMEDIUMTYPE), N(ECANCELED), N(ENOKEY), N(EKEYEXPIRED),
    N(EKEYREVOKED), N(EKEYREJECTED), N(EOWNERDEAD), N(ENOTRECOVERABLE), N(ERFKILL), N(EHWPOISON),
};

constexpr Name kChildCodes[] = {
    N(CLD_EXITED), N(CLD_KILLED), N(CLD_DUMPED), N(CLD_TRAPPED), N(CLD_STOPPED), N(CLD_CONTINUED),
};

#undef N
// clang-format on

template <size_t count>
constexpr std::string_view name_of(const Name (&table)[count], int number) {
  for (const auto& entry : table)
    if (entry.number == number) return entry.text;
  return {};
}

std::optional<int> small_number(std::string_view digits) {
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < 0) return {};
  return value;
}

}  // namespace

std::string signal_name(int number) {
  if (const auto name = name_of(kSignals, number); !name.empty()) return std::string(name);
  // SIGRTMIN is a function call in glibc, which keeps the first two for itself.
  if (number >= SIGRTMIN && number <= SIGRTMAX) {
    const int offset = number - SIGRTMIN;
    return offset == 0 ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(offset);
  }
  return {};
}

std::optional<int> signal_number(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (const auto& entry : kSignals)
    if (entry.text.substr(3) == name) return entry.number;
  if (name == "RTMIN") return SIGRTMIN;
  if (name == "RTMAX") return SIGRTMAX;
  const bool up = name.starts_with("RTMIN+");
  if (!up && !name.starts_with("RTMAX-")) return {};
  const auto offset = small_number(name.substr(6));
  if (!offset || *offset > SIGRTMAX - SIGRTMIN) return {};
  return up ? SIGRTMIN + *offset : SIGRTMAX - *offset;
}

std::string errno_name(int number) {
  if (number == 0) return {};
  if (const auto name = name_of(kErrors, number); !name.empty()) return std::string(name);
  return "E" + std::to_string(number);
}

std::string_view errno_text(int number) {
  const char* text = strerrordesc_np(number);  // untranslated, unlike strerror(3)
  return text == nullptr ? "Unknown error" : text;
}

std::string_view child_code_name(int code) { return name_of(kChildCodes, code); }

}  // namespace cloister::sys
