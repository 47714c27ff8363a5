// Driver: plays the monitor and the front for one cloister-init.
//
// Fills in a Plan and an Order, starts the real program with its descriptors
// in place, answers its reports and hands out what it said. Tests only.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "plan/builder.hpp"
#include "plan/order.hpp"
#include "plan/record.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::test {

// First in a case that starts init as the root service does.
#define NEEDS_ROOT() \
  if (::geteuid() != 0) SKIP("needs root")

class Driver {
 public:
  Driver();
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Before start(): the plan. Lists become spans in start().
  plan::Builder plan;
  plan::Order order{};
  std::vector<std::string> argv, env;
  std::vector<plan::Action> actions;
  std::vector<plan::Mount> mounts;
  std::vector<plan::Descriptor> descriptors;
  std::vector<plan::Sysctl> sysctls;
  std::vector<plan::LandlockPath> landlock_paths;
  std::vector<plan::Published> published;
  std::vector<uint32_t> groups;
  std::vector<plan::IdMap> uid_map, gid_map;          // of the job's own user namespace
  std::vector<plan::IdMap> client_uids, client_gids;  // of who the client may be
  std::vector<int> joins;                             // at kFirstJoinFd
  std::vector<int> pipes;                             // after those, of captured streams
  uint64_t clone_flags = 0;                           // CLONE_NEWPID, CLONE_NEWUSER
  uid_t uid = 0;                                      // of init, before the clone
  int cgroup = -1, cgroup_kill = -1;
  int pasta = -1;                  // of cloister-network, which is started instead and has no front
  int announced_descriptors = -1;  // how many are really sent; -1 = all
  bool ahead = false;              // a spare, that makes namespaces ahead
  bool silent = false;             // never answers a report
  std::function<void()> before_exec;              // in init's process, e.g. a filter
  std::function<void(std::string&)> spoil;        // the finished block
  std::function<void(std::string&)> spoil_order;  // the message with the order

  void shell(const std::string& script);
  void fresh(plan::Namespace which);
  uint32_t pass(int fd, plan::Use use);  // borrowed; the index in `descriptors`
  void receive(int fd, int at);          // passes and places it
  plan::Action& act(plan::Op op, int fd, int new_fd = 0, const std::string& path = {});
  plan::Mount& mount(plan::MountKind kind, const std::string& at, uint32_t flags = 0);
  plan::Mount& bind(const std::string& source, const std::string& at, uint32_t flags);
  void host_tree();  // "/" read-only, /tmp, /dev, /proc in fresh mnt and pid namespaces
  void capture();    // stdout into output()

  void start();
  // The next report of this kind; answers facts and maps on the way. False
  // when init hung up first or 10 s passed.
  bool await(plan::ReportKind kind);
  void command(plan::CommandKind kind, int signal = 0, plan::Scope scope = plan::Scope::main);
  void send_network(int network);
  void hang_up();
  void hang_up_front();
  // A descriptor that init sent to the front, and its letter.
  sys::UniqueFd from_init(char& what);
  // Waits for init's end and reads the record.
  const plan::ExitRecord& end();
  // start() and end().
  const plan::ExitRecord& run();

  const std::string& output();
  int exit_code() const;  // of the payload, or -1
  const std::vector<plan::Fact>& facts() const { return facts_; }
  const plan::Report& last() const { return last_; }
  pid_t forked_pid() const { return forked_pid_; }
  pid_t init_pid() const { return init_; }
  int init_status() const { return init_status_; }

 private:
  std::string finish_plan();
  void send_descriptors();
  void write_maps();
  size_t needed_facts();
  bool next(plan::Report& report);

  sys::UniqueFd control_, passed_, record_, out_, payload_;
  std::vector<sys::UniqueFd> kept_;
  std::vector<int> sources_;
  std::vector<plan::Fact> facts_;
  plan::Report last_{};
  plan::ExitRecord result_{};
  std::string output_;
  pid_t init_ = -1, forked_pid_ = 0;
  int init_status_ = -1;
  bool ended_ = false;
};

}  // namespace cloister::test
