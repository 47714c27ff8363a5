// What the host lacks is found when the service starts, and named: pasta, and a
// disk for scratch directories.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <string>

#include "host/pasta.hpp"
#include "host/scratch.hpp"
#include "outcome.hpp"

namespace cloister::test {
namespace {

using namespace monitor;

std::string name_of(plan::Reason reason) { return plan::describe(reason).name; }

// A directory of our own on a disk, which /tmp need not be.
class Directory {
 public:
  Directory() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Directory() { [[maybe_unused]] const int rc = std::system(("rm -rf " + path_).c_str()); }
  std::string file(const char* name, mode_t mode) const {
    const std::string path = path_ + "/" + name;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(::fchmod(fd, mode) == 0);
    ::close(fd);
    return path;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/var/tmp/host_test.XXXXXX";
};

std::string pasta(const std::string& path) {
  return name_of(open_pasta(path, ::geteuid()).why_not);
}

std::string scratch(const std::string& store, int sweep = 3) {
  boost::asio::io_context io;
  return name_of(Scratch(io, store, sweep).why_not());
}

}  // namespace

TEST_CASE("a pasta that cannot be trusted is not used, and the reason is named") {
  const Directory directory;
  CHECK(pasta(directory.file("good", 0755)) == "");
  CHECK(pasta(directory.path() + "/none") == "no-pasta");
  CHECK(pasta(directory.file("private", 0700)) == "pasta-is-for-all");
  CHECK(pasta(directory.path()) == "pasta-is-for-all");
  CHECK(pasta(directory.file("shared", 0775)) == "pasta-is-roots");
}

TEST_CASE("a place that is no disk for scratch directories is named") {
  const Directory directory;
  CHECK(scratch(directory.path() + "/made/later") == "");
  CHECK(scratch(directory.path(), -1) == "no-sweep");
  CHECK(scratch("") == "no-scratch-home");
  CHECK(scratch(directory.file("file", 0600) + "/below") == "scratch-unreachable");
  CHECK(scratch("/dev/shm/store") == "scratch-in-memory");
}

TEST_CASE("a scratch directory that the service cannot write is named") {
  const Directory directory;
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(2);
    ::_exit(scratch("/usr/store") == "scratch-not-writable" ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

}  // namespace cloister::test
