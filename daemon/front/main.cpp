// cloister-front: reads what one client writes. Started ahead by cloisterd,
// which alone can speak to it; of no use by hand.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>

#include "become.hpp"
#include "nursery.hpp"
#include "reply.hpp"
#include "session.hpp"
#include "sys/powers.hpp"
#include "sys/root.hpp"
#include "varlink/transfer.hpp"
#include "warm_up.hpp"

// Under AddressSanitizer: the leak check traces its own process, which the
// filter forbids, and a front ends with _exit(2) anyway.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace cloister::front {
namespace {

constexpr char kOwnProfiles[] = "/etc/cloister/profiles";

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "cloister-front: %s: %s\n", what, std::strerror(errno));
  ::_exit(EX_OSERR);
}

// Installed, or beside the programs of a build tree; and the administrator's.
request::Result<Profiles> load_profiles() {
  char self[4096];
  const ssize_t size = ::readlink("/proc/self/exe", self, sizeof self);
  std::string beside(self, size > 0 ? static_cast<size_t>(size) : 0);
  beside = beside.substr(0, beside.rfind('/') + 1) + "config/profiles";
  const bool installed = ::access(beside.c_str(), F_OK) != 0;
  const Profiles::Directory directories[] = {
      {installed ? CLOISTER_PROFILEDIR : beside},
      {.path = kOwnProfiles, .guarded = true, .optional = true}};
  return Profiles::load(directories);
}

std::string text_of(const Problem& wrong) { return wrong.field + ' ' + wrong.reason; }

void complain(const Problem& wrong) {
  std::fprintf(stderr, "cloister-front: %s\n", text_of(wrong).c_str());
}

// Why this peer is not served, if it is not.
std::optional<varlink::Reply> refusal(const plan::Peer& peer,
                                      const request::Result<Profiles>& profiles) {
  if (peer.refusal.kind == plan::RefusalKind::misconfigured)
    return varlink::misconfigured(peer.wrong.file, peer.wrong.place, peer.wrong.reason);
  if (peer.refusal.kind == plan::RefusalKind::none) {
    if (profiles) return {};
    return varlink::misconfigured(kOwnProfiles, "", text_of(profiles.error()));
  }
  return reply_to(peer.refusal, "");
}

// `profiles` may be why there are none: then nobody is served.
int serve_client(request::Result<Profiles>& profiles, pid_t nursery) {
  ::fcntl(plan::kAskFd, F_SETFD, FD_CLOEXEC);
  ::fcntl(plan::kTellFd, F_SETFD, FD_CLOEXEC);
  if (!confine()) fail("cannot confine itself");
  boost::asio::io_context io(1);
  boost::asio::steady_timer made_ahead(io);  // what Asio makes for the first one
  const sys::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (profiles) warm_up(*profiles);

  // A spare waits here.
  auto hello = receive_tell(plan::kTellFd);
  if (!hello) return EX_OK;  // the monitor has ended
  const plan::Peer peer = hello->tell.peer;
  std::vector<uint32_t> groups;
  while (groups.size() < peer.group_count) {
    const auto batch = receive_tell(plan::kTellFd);
    if (!batch) return EX_OK;
    for (size_t i = 0; i < std::size(batch->tell.groups) && groups.size() < peer.group_count; ++i)
      groups.push_back(batch->tell.groups[i]);
  }
  while (peer.refusal.kind != plan::RefusalKind::none &&
         hello->descriptors.size() < peer.connections) {
    auto more = receive_tell(plan::kTellFd);
    if (!more) return EX_OK;
    std::move(more->descriptors.begin(), more->descriptors.end(),
              std::back_inserter(hello->descriptors));
  }
  if (!profiles) profiles = load_profiles();  // they may be right by now
  // From here: we are the client. The daemon's log is not the client's to write.
  if (!become(peer, groups)) fail("cannot become the client");
  if (::getppid() != nursery) return EX_OK;  // it ended before its end could end us
  for (int fd : {0, 1, 2})
    if (::dup2(null.borrow(), fd) < 0) fail("cannot replace the standard descriptors");
  if (const auto word = refusal(peer, profiles)) {
    // One word, where it can be said at once, and the end.
    for (size_t i = 0; i < peer.connections && i < hello->descriptors.size(); ++i) {
      varlink::FrameWriter writer(varlink::to_text(*word), {});
      (void)varlink::send(hello->descriptors[i].borrow(), writer);
    }
    ::_exit(EX_OK);
  }
  sys::UniqueFd connection = std::move(hello->descriptors.at(0));
  varlink::Connection::Socket socket(io, boost::asio::local::stream_protocol(), connection.take());
  Session session(io, std::move(socket), make_caller(peer, std::move(groups)), std::move(*profiles),
                  std::move(hello->descriptors.at(1)));
  session.run();
  return EX_OK;
}

// For `cloisterd --check`.
int check_profiles() {
  const auto profiles = load_profiles();
  if (profiles) return EX_OK;
  complain(profiles.error());
  return EX_CONFIG;
}

// To become a client, what the front of a root client keeps, and CAP_KILL: whose end
// is to end fronts of other users has to be allowed to signal them, PR_SET_PDEATHSIG.
// The profiles are parsed with no more than that.
bool keep_what_fronts_need() {
  constexpr uint64_t kNeeded = uint64_t{1} << CAP_SETUID | uint64_t{1} << CAP_SETGID |
                               uint64_t{1} << CAP_DAC_READ_SEARCH | uint64_t{1} << CAP_KILL;
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && sys::keep_only(kNeeded);
}

int run(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--check") == 0) return check_profiles();
  struct stat channel {};
  if (::fstat(plan::kNurseryFd, &channel) < 0 || !S_ISSOCK(channel.st_mode)) {
    std::fputs("cloister-front: started by cloisterd only; see cloisterd(8)\n", stderr);
    return EX_USAGE;
  }
  ::fcntl(plan::kNurseryFd, F_SETFD, FD_CLOEXEC);
  sys::is_root();  // asked while it can be told
  if (!keep_what_fronts_need()) fail("cannot give up capabilities");
  auto profiles = load_profiles();
  if (!profiles) complain(profiles.error());
  if (profiles) warm_up(*profiles);
  const pid_t nursery = ::getpid();
  return serve_nursery(plan::kNurseryFd, [&] { return serve_client(profiles, nursery); });
}

}  // namespace
}  // namespace cloister::front

int main(int argc, char** argv) { return cloister::front::run(argc, argv); }
