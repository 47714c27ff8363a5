// S9: ways around a rule that a hostile front may try, each with what it leads to.
// The members of the Plan, one by one: plan_walk_test.cpp.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "boxes.hpp"
#include "hostile.hpp"

namespace cloister::security_test {
namespace {

using hostile::Script;
using plan::Header;
using plan::MountKind;
using plan::Namespace;

TEST_CASE("S9: no device comes into a box by a bind that the list of devices leaves out") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "none"},
                      {"users", Json::array({world.alice().uid})},
                      {"allow", {{"devices", Json::array()}}}},
                     {{"name", "lent"},
                      {"users", Json::array({world.bob().uid})},
                      {"allow", {{"gids", Json::array({0})}}}}}),
              hostile_front());
  const Json box = {{"profile", "default"},
                    {"executable", "/bin/sh"},
                    {"argv", {"sh", "-c", ": </run/nodes/null && echo opened"}}};
  const Script nodes = Script().bind("/dev", "/run/nodes", plan::kMountReadOnly);
  Client alice = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  Outcome outcome = alice.run(nodes.in(box));
  INFO(outcome.told());
  CHECK(outcome.error == "Denied");
  CHECK(outcome.parameters["rule"] == "none/devices");
  // The honest field says the same.
  Json honest = box;
  honest["mounts"] = {{{"at", "/run/nodes"}, {"bind", "/dev"}, {"nodev", false}}};
  CHECK(alice.run(honest).parameters["rule"] == "none/devices");
  // As oneself one opens what one opens outside; with an id that was lent, not.
  outcome = bob.run(nodes.in(box));
  INFO(outcome.told());
  CHECK(outcome.out == "opened\n");
  Json lent = box;
  lent["identity"] = {{"rgid", 0}, {"groups", {0, world.bob().gid}}};
  CHECK(bob.run(nodes.in(lent)).parameters["rule"] == "nodev-for-other-ids");
}

// A network namespace of alice's own making, for as long as this lives.
class OwnNetwork {
 public:
  explicit OwnNetwork(const Who& who) {
    auto [ready, tell] = pipe();
    auto [wait_end, keep] = pipe();
    child_ = child([&, &tell = tell, &wait_end = wait_end, &keep = keep] {
      keep.reset();
      become(who);
      check(unshare(CLONE_NEWUSER | CLONE_NEWNET), "unshare");
      tell.reset();
      char byte;
      while (read(wait_end.get(), &byte, 1) < 0 && errno == EINTR) {
      }
      return 0;
    });
    tell.reset();
    char byte;
    while (read(ready.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    keep_ = std::move(keep);
    network_ =
        Fd(open(("/proc/" + std::to_string(child_) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC));
  }
  ~OwnNetwork() {
    keep_.reset();
    wait_for(child_);
  }
  int get() const { return network_.get(); }

 private:
  pid_t child_ = -1;
  Fd keep_, network_;
};

TEST_CASE("S9: no network but those of the rule is reached by a descriptor") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "none"},
                      {"users", Json::array({world.alice().uid})},
                      {"allow", {{"network", Json::array({"none"})}}}}}));
  Client alice = ruled.connect(world.alice());
  const OwnNetwork network(world.alice());
  REQUIRE(network.get() >= 0);
  Json joining = modest(world);
  joining["namespaces"]["net"] = {{"passed_fd", 0}};
  Outcome outcome = alice.run(joining, {network.get()});
  INFO(outcome.told());
  CHECK(outcome.error == "Denied");
  CHECK(outcome.parameters["rule"] == "none/network");
  // A socket stays in the network that it was made in.
  for (const int domain : {AF_INET, AF_INET6, AF_UNIX}) {
    CAPTURE(domain);
    const Fd made(socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (made.get() < 0) continue;
    for (const char* profile : {"none", "default"}) {
      Json request = profile == std::string("none") ? modest(world) : world.boxed_request();
      request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 9}}}}};
      outcome = alice.run(request, {made.get()});
      INFO(outcome.told());
      CHECK(outcome.error == (domain == AF_UNIX ? "" : "Denied"));
      if (domain != AF_UNIX) CHECK(outcome.parameters["rule"] == "none/network");
    }
  }
  // Whom no rule bounds, joins its own.
  Client bob = ruled.connect(world.bob());
  const OwnNetwork other(world.bob());
  outcome = bob.run(joining, {other.get()});
  INFO(outcome.told());
  CHECK(outcome.error == "");
}

TEST_CASE("S9: ids are not judged by a user namespace that is the host's") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object(), hostile_front());
  Client client = ruled.connect(world.alice());
  Client other = ruled.connect(world.alice());
  const Held host(other, world.probe_request({"hold"}));
  Json request = world.probe_request();
  request["namespaces"] = {{"user", {{"job", host.id()}}}};
  request["no_new_privs"] = true;
  const Script root = Script().set_at(offsetof(Header, identity), uint32_t{0});
  Outcome outcome = client.run(root.in(request));
  INFO(outcome.told());
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "namespaces.user");
  CHECK(outcome.parameters["reason"].dump().find("not-the-hosts") != std::string::npos);
}

TEST_CASE("what calls.list has not is missing for a front, whoever has taken it over") {
  NEEDS_ROOT();
  Ruled ruled(Json::object(), hostile_front());
  const std::vector<long> missing = {SYS_execve,
                                     SYS_execveat,
                                     SYS_fork,
                                     SYS_vfork,
                                     SYS_clone,
                                     SYS_clone3,
                                     SYS_ptrace,
                                     SYS_kill,
                                     SYS_unshare,
                                     SYS_setns,
                                     SYS_mount,
                                     SYS_umount2,
                                     SYS_pivot_root,
                                     SYS_chroot,
                                     SYS_open_tree,
                                     SYS_move_mount,
                                     SYS_fsopen,
                                     SYS_mount_setattr,
                                     SYS_mknodat,
                                     SYS_bpf,
                                     SYS_unlinkat,
                                     SYS_renameat2,
                                     SYS_mkdirat,
                                     SYS_linkat,
                                     SYS_fchmodat,
                                     SYS_fchownat,
                                     SYS_io_uring_setup,
                                     SYS_userfaultfd,
                                     SYS_perf_event_open,
                                     SYS_add_key,
                                     SYS_request_key,
                                     SYS_keyctl,
                                     SYS_init_module,
                                     SYS_process_vm_readv,
                                     SYS_pidfd_getfd,
                                     SYS_open_by_handle_at,
                                     999};
  for (const Who& who : {World::get().alice(), World::get().root()}) {
    CAPTURE(who.uid);
    Client client = ruled.connect(who);
    Outcome outcome = client.run(Script().missing(missing).in(World::get().probe_request()));
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
  }
  // Where there is one the front ends, and its connection with it.
  Client client = ruled.connect(World::get().alice());
  CHECK_THROWS(client.run(Script().missing({SYS_getpid}).in(World::get().probe_request())));
}

}  // namespace
}  // namespace cloister::security_test
