#include "config/config_program.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "host/child_watch.hpp"

namespace cloister::monitor {
namespace {

class Reading : public std::enable_shared_from_this<Reading> {
 public:
  Reading(boost::asio::io_context& io, std::string file, std::function<void(Config)> done)
      : io_(io), file_(std::move(file)), done_(std::move(done)), end_(io), patience_(io) {}

  void start(const ConfigOrder& order) {
    block_.reset(::memfd_create("cloister-config", MFD_CLOEXEC));
    const char* const argv[] = {"cloister-config", order.of_root ? "system" : "own",
                                order.file.empty() ? nullptr : order.file.c_str(), nullptr};
    const FdMove moves[] = {{block_.borrow(), plan::kPolicyFd}};
    Spawn request{.executable = order.program, .name = argv[0], .moves = moves, .argv = argv};
    Child child = block_ ? spawn(request) : Child{};
    if (child.pid < 0) {
      const std::string why =
          std::string("cloister-config cannot be started: ") + std::strerror(errno);
      boost::asio::post(io_, [self = shared_from_this(), why] { self->tell(why); });
      return;
    }
    end_.of_child(std::move(child), [self = shared_from_this()](const Reaped& end) {
      self->patience_.cancel();
      self->ended(end.code == CLD_EXITED && end.status == 0);
    });
    patience_.expires_after(kPatience);
    patience_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error && self->done_) self->give_up();
    });
  }

 private:
  void give_up() {
    end_.kill();
    tell("was not read within " + std::to_string(kPatience.count()) +
         " s: a user database, nsswitch.conf(5), or a file system does not answer");
  }

  void ended(bool well) {
    if (!done_) return;
    if (!well) return tell("cloister-config ended without an answer");
    // Read once, into memory of ours: nobody changes what was checked.
    struct stat info {};
    const bool fits =
        ::fstat(block_.borrow(), &info) == 0 && info.st_size <= off_t{plan::kMaxPolicyBytes};
    const auto bytes = fits ? static_cast<size_t>(info.st_size) : 0;
    std::vector<uint64_t> copy(bytes / sizeof(uint64_t) + 1);
    if (!fits || ::pread(block_.borrow(), copy.data(), bytes, 0) != static_cast<ssize_t>(bytes) ||
        plan::check_policy(copy.data(), bytes) != plan::Flaw::none)
      return tell("cloister-config wrote an invalid policy block");
    std::exchange(done_, nullptr)(config_of(plan::PolicyView(copy.data())));
  }

  void tell(const std::string& reason) {
    Config config;
    config.wrong = {file_, {}, reason};
    std::exchange(done_, nullptr)(std::move(config));
  }

  boost::asio::io_context& io_;
  std::string file_;
  std::function<void(Config)> done_;
  sys::UniqueFd block_;
  ChildWatch end_;
  boost::asio::steady_timer patience_;
};

}  // namespace

void read_config(boost::asio::io_context& io, const ConfigOrder& order,
                 std::function<void(Config)> done) {
  std::make_shared<Reading>(io, order.file, std::move(done))->start(order);
}

}  // namespace cloister::monitor
