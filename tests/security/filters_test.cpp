// SEC-01 to SEC-06 and SEC-10: system call filters, as the kernel holds to them.
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/syscall.h>

#include <cerrno>

#include "boxes.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

constexpr Way kFilteredWays[] = {Way::root, Way::user, Way::rootless};

std::string call(const char* abi, const char* name, std::vector<uint64_t> arguments = {}) {
  const bool ia32 = std::string(abi) == "int80";
  int number = seccomp_syscall_resolve_name_arch(ia32 ? SCMP_ARCH_X86 : SCMP_ARCH_NATIVE, name);
  if (number == -101) number = 359;  // socket(2) of i386, which libseccomp calls by socketcall(2)
  REQUIRE_MESSAGE(number >= 0, name);
  std::string word = std::string(abi) + ':' + std::to_string(number);
  for (const uint64_t argument : arguments) word += ':' + std::to_string(argument);
  return word;
}

Json filtered(const std::vector<std::string>& words, const Json& seccomp = "default") {
  std::vector<std::string> arguments = {"abi-calls"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  Json request = World::get().boxed_request(arguments);
  request["seccomp"] = seccomp;
  return request;
}

// The entries of the kernel for calls. One for 32 bits is not in every kernel, and
// can be switched off (ia32_emulation=0); then int $0x80 is SIGSEGV.
const std::vector<const char*>& abis() {
  static const std::vector<const char*> all = [] {
    std::vector<const char*> found = {"native"};
#if defined(__x86_64__)
    const int status = wait_for(child([] {
      long result = 20;  // getpid(2) of i386
      asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
      return result == getpid() ? 0 : 1;
    }));
    if (status == 0) found.push_back("int80");
#endif
    return found;
  }();
  if (all.size() == 1) not_run("without int $0x80: this kernel takes no 32-bit calls");
  return all;
}

TEST_CASE("SEC-01 each blocked call is answered the same by every entry of the kernel") {
  NEEDS_ROOT();
  const std::vector<std::pair<const char*, const char*>> blocked = {{"mount", "EPERM"},
                                                                    {"umount2", "EPERM"},
                                                                    {"pivot_root", "EPERM"},
                                                                    {"setns", "EPERM"},
                                                                    {"init_module", "EPERM"},
                                                                    {"kexec_load", "EPERM"},
                                                                    {"bpf", "EPERM"},
                                                                    {"perf_event_open", "EPERM"},
                                                                    {"userfaultfd", "EPERM"},
                                                                    {"swapon", "EPERM"},
                                                                    {"reboot", "EPERM"},
                                                                    {"open_by_handle_at", "EPERM"},
                                                                    {"keyctl", "ENOSYS"},
                                                                    {"add_key", "ENOSYS"},
                                                                    {"io_uring_setup", "ENOSYS"},
                                                                    {"clone3", "ENOSYS"},
                                                                    {"acct", "EPERM"},
                                                                    {"fsopen", "EPERM"}};
  for (const Way way : kFilteredWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    std::vector<std::string> words;
    for (const auto& [name, error] : blocked) {
      for (const char* abi : abis()) words.push_back(call(abi, name));
#if defined(__x86_64__)
      words.push_back("native:" + std::to_string(0x40000000 | seccomp_syscall_resolve_name_arch(
                                                                  SCMP_ARCH_X32, name)));
#endif
    }
    words.push_back("native:" + std::to_string(UINT32_MAX));
    const Json answers = act(client, filtered(words));
    INFO(answers.dump());
    for (const auto& [name, error] : blocked) {
      for (const char* abi : abis())
        CHECK_MESSAGE(answers.value(call(abi, name), Json()) == error, name);
#if defined(__x86_64__)
      const int x32 = 0x40000000 | seccomp_syscall_resolve_name_arch(SCMP_ARCH_X32, name);
      CHECK_MESSAGE(answers.value("native:" + std::to_string(x32), Json()) == error, name);
#endif
    }
    CHECK(answers.value("native:" + std::to_string(UINT32_MAX), Json()) == "ENOSYS");
  }
}

TEST_CASE("SEC-02 an argument with its high half set is answered as without") {
  NEEDS_ROOT();
  const uint64_t high = uint64_t{0xdeadbeef} << 32;
  for (const Way way : kFilteredWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    std::vector<std::string> words;
    for (const uint64_t flag : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET}) {
      words.push_back(call("native", "clone", {high | flag | SIGCHLD}));
      words.push_back(call("native", "unshare", {high | flag}));
    }
    for (const uint64_t family : {38, 40, 17, 15})  // AF_ALG, AF_VSOCK, AF_PACKET, AF_KEY
      words.push_back(call("native", "socket", {high | family, 3, 0}));
    const Json answers = act(client, filtered(words));
    INFO(answers.dump());
    for (size_t i = 0; i < words.size(); ++i)
      CHECK_MESSAGE(answers.value(words[i], Json()) == (i < 6 ? "EPERM" : "EAFNOSUPPORT"),
                    words[i]);
  }
}

TEST_CASE("SEC-03 clone3 is missing, and clone makes no namespace of any kind") {
  NEEDS_ROOT();
  for (const Way way : kFilteredWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    std::vector<std::string> words;
    for (const char* abi : abis()) {
      words.push_back(call(abi, "clone3", {0, 0}));
      for (const uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                  CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET})
        words.push_back(call(abi, "clone", {flag | SIGCHLD}));
    }
    const Json answers = act(client, filtered(words));
    for (size_t i = 0; i < words.size(); ++i)
      CHECK_MESSAGE(answers.value(words[i], Json()) == (i % 8 == 0 ? "ENOSYS" : "EPERM"), words[i]);
  }
}

TEST_CASE("SEC-04 numbers beyond what was compiled up to 1024 are missing calls") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  std::vector<std::string> words;
  for (int number = 520; number <= 1024; ++number)
    for (const char* abi : abis()) words.push_back(std::string(abi) + ':' + std::to_string(number));
  for (const Json& seccomp :
       {Json("default"),
        Json{{"allow", {"@start", "@process", "@signal", "@basic-io", "pipe2", "pipe"}}}}) {
    const Json answers = act(client, filtered(words, seccomp));
    CHECK(answers.size() == words.size());
    for (const auto& [word, answer] : answers.items()) CHECK_MESSAGE(answer == "ENOSYS", word);
  }
}

TEST_CASE("SEC-05 io_uring is not to be had by default, and is where it is permitted") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  const Json words =
      filtered({call("native", "io_uring_setup", {1, 0}), call("native", "bpf", {0})});
  const Json granted = with(words, {{"seccomp", {{"permit", {"@io-uring"}}}}});
  // It makes calls that no filter sees, so a box that keeps set-uid files from
  // being made has none, whatever the client's own filter says.
  for (const Json& request : {words, granted})
    CHECK(act(client, request).value(call("native", "io_uring_setup", {1, 0}), Json()) == "ENOSYS");
  // It gets as far as the kernel's own checks: no parameters.
  Ruled ruled(rules({{{"name", "all"}, {"allow", {{"set_uid_files", true}}}}}));
  Client trusted = ruled.connect(World::get().alice());
  const Json answer = act(trusted, with(granted, {{"set_uid_files", true}}));
  INFO(answer.dump());
  CHECK(answer.value(call("native", "io_uring_setup", {1, 0}), Json()) == "EFAULT");
  CHECK(answer.value(call("native", "bpf", {0}), Json()) == "EPERM");
}

TEST_CASE("SEC-06 every thread is under the filters, the baseline beside the client's own") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    const auto filters = [&](const Json& seccomp) {
      Json request = World::get().boxed_request({"filters"});
      if (!seccomp.is_null()) request["seccomp"] = seccomp;
      const Json threads = act(client, request)["threads"];
      INFO(threads.dump());
      CHECK(threads.size() == 2);
      for (const Json& thread : threads) {
        CHECK(thread["Seccomp"] == "2");
        CHECK(thread["NoNewPrivs"] == "1");
      }
      return std::stoi(threads[0]["Seccomp_filters"].get<std::string>());
    };
    // By ourselves there may be some already.
    const int alone = filters("none");
    CHECK(alone >= 1);
    CHECK(filters("default") == alone + 1);
    CHECK(filters({{"defaultAction", "SCMP_ACT_ALLOW"}}) == alone + 1);
    // A client that allows everything is held to the baseline all the same.
    std::vector<std::string> words;
    for (const char* name : {"kexec_load", "bpf", "open_by_handle_at", "init_module"})
      for (const char* abi : abis()) words.push_back(call(abi, name));
    const Json answers = act(client, filtered(words, {{"defaultAction", "SCMP_ACT_ALLOW"}}));
    for (const auto& [word, answer] : answers.items()) CHECK_MESSAGE(answer == "EPERM", word);
  }
}

TEST_CASE("SEC-10 filters that cannot be are refused by name, and the service goes on") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kFilteredWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* action : {"SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_LOG"}) {
      Outcome outcome = client.run(filtered({}, {{"defaultAction", action}}));
      CHECK(outcome.error == "InvalidRequest");
      CHECK(outcome.parameters["field"] == "seccomp.defaultAction");
    }
    // Longer than the kernel takes.
    Json rules = Json::array();
    for (int i = 0; i < 80; ++i) {
      Json names = Json::array(), arguments = Json::array();
      const char* const calls[] = {"ioctl", "prctl", "fcntl", "mmap", "mprotect", "madvise"};
      for (int k = 0; k < 6; ++k)
        if (i % (k + 1) == 0) names.push_back(calls[k]);
      for (int k = 0; k < 6; ++k)
        arguments.push_back({{"index", k},
                             {"value", (uint64_t{1} << 40) * static_cast<uint64_t>(i + 1)},
                             {"op", "SCMP_CMP_EQ"}});
      rules.push_back({{"names", names}, {"action", "SCMP_ACT_ERRNO"}, {"args", arguments}});
    }
    Outcome large =
        client.run(filtered({}, {{"defaultAction", "SCMP_ACT_ALLOW"}, {"syscalls", rules}}));
    CHECK(large.error == "InvalidRequest");
    CHECK(large.parameters["field"] == "seccomp");
    CHECK(large.parameters["expected"] == "a filter of at most 4096 instructions");
    // One that lets nothing run is refused before anything runs.
    for (const Json& seccomp :
         {Json{{"allow", {"read"}}}, Json{{"deny", {"execve"}}}, Json{{"deny", {"exit_group"}}}}) {
      Outcome outcome = client.run(filtered({}, seccomp));
      CHECK(outcome.error == "InvalidRequest");
      CHECK(outcome.parameters["field"] == "seccomp");
    }
    // A payload may stack its own until the kernel has enough of it.
    const Json stacked = act(client, world.boxed_request({"stack-filters"}));
    CHECK(stacked["error"] == "ENOMEM");
    CHECK(stacked["loaded"] > 0);
    CHECK(act(client, filtered({call("native", "getppid")})).begin().value() == nullptr);
  }
}

// The constructs of the profile that container engines ship, in words of our own.
const char* const kProfile = R"({
  "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
  "archMap": [
    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
  "syscalls": [
    {"names": ["access", "arch_prctl", "brk", "clock_gettime", "clock_gettime64", "close", "dup",
        "execve", "execveat", "exit", "exit_group", "fcntl", "fcntl64", "fork", "fstat", "fstat64",
        "futex", "getcwd", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom",
        "gettid", "getuid", "ioctl", "lseek", "mmap", "mmap2", "mprotect", "munmap", "newfstatat",
        "openat", "pipe", "pipe2", "prlimit64", "read", "readlink", "readlinkat", "rseq",
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield", "set_robust_list",
        "set_thread_area", "set_tid_address", "sigreturn", "uname", "vfork", "wait4", "waitid",
        "waitpid", "write", "writev", "a_call_of_another_kernel"],
     "action": "SCMP_ACT_ALLOW", "comment": "what every program needs"},
    {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
    {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
    {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 4294967295, "op": "SCMP_CMP_EQ"}]},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]},
    {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
     "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]}},
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
     "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["mount", "umount2", "unshare", "setns", "bpf"], "action": "SCMP_ACT_ALLOW",
     "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["process_vm_readv"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
    {"names": ["sync"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
    {"names": ["getpriority"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["ppc64le"]}},
    {"names": ["times"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
    {"names": ["alarm"], "action": "SCMP_ACT_KILL_PROCESS"},
    {"names": ["getpgid"], "action": "SCMP_ACT_TRAP"}]})";

TEST_CASE("SEC-01 an OCI profile does as its text says on twenty calls, by each entry") {
  NEEDS_ROOT();
  struct Expected {
    const char* name;
    std::vector<uint64_t> arguments;
    Json answer;  // null: let through, with whatever the kernel makes of it
  };
  const std::vector<Expected> twenty = {{"getppid", {}, nullptr},
                                        {"getcwd", {0, 0}, "let through"},
                                        {"getsid", {0}, "EPERM"},
                                        {"sched_yield", {}, nullptr},
                                        {"personality", {0xffffffff}, nullptr},
                                        {"personality", {8}, nullptr},
                                        {"personality", {0x0100000}, "EPERM"},
                                        {"socket", {1, 1, 0}, nullptr},
                                        {"socket", {40, 1, 0}, "EPERM"},
                                        {"clone", {CLONE_NEWUSER | SIGCHLD}, "EPERM"},
                                        {"clone", {SIGCHLD}, nullptr},
                                        {"clone3", {0, 0}, "ENOSYS"},
                                        {"mount", {}, "EPERM"},
                                        {"unshare", {0}, "EPERM"},
                                        {"process_vm_readv", {0, 0, 0, 0, 0}, "let through"},
                                        {"sync", {}, "EPERM"},
                                        {"getpriority", {0, 0}, "EPERM"},
                                        {"times", {0}, "EOPNOTSUPP"},
                                        {"alarm", {0}, "SIGSYS"},
                                        {"getpgid", {0}, "SIGSYS"}};
  REQUIRE(twenty.size() == 20);
  for (const Way way : kFilteredWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    std::vector<std::string> words;
    for (const char* abi : abis())
      for (const Expected& one : twenty) words.push_back(call(abi, one.name, one.arguments));
    const Json answers = act(client, filtered(words, Json::parse(kProfile)));
    INFO(answers.dump());
    for (size_t i = 0; i < words.size(); ++i) {
      const Expected& one = twenty[i % twenty.size()];
      CAPTURE(words[i]);
      CAPTURE(std::string(one.name));
      REQUIRE(answers.contains(words[i]));
      const Json& answer = answers.at(words[i]);
      if (one.answer == "let through")
        CHECK((answer != "EPERM" && answer != "ENOSYS"));
      else
        CHECK(answer == one.answer);
    }
  }
}

TEST_CASE("SEC-01 a deadly call ends in a verdict with its name, whoever makes it") {
  NEEDS_ROOT();
  World& world = World::get();
  const Json deadly = {
      {"defaultAction", "SCMP_ACT_ALLOW"},
      {"syscalls", {{{"names", {"getsid"}}, {"action", "SCMP_ACT_KILL_PROCESS"}}}}};
  const std::string number = std::to_string(SYS_getsid);
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request :
         {world.boxed_request({"call-in-thread", number}),
          with(world.probe_request({"call-in-thread", number}), {{"no_new_privs", true}})}) {
      request["seccomp"] = deadly;
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK(outcome.verdict["ending"] == "signaled");
      CHECK(outcome.verdict["cause"] == "seccomp");
      CHECK(outcome.verdict["fault"] == "payload");
      CHECK(outcome.verdict["term_signal"] == "SIGSYS");
      CHECK(outcome.verdict["seccomp"]["syscall"] == "getsid");
      CHECK(outcome.verdict["seccomp"]["number"] == SYS_getsid);
      CHECK(outcome.out.empty());
    }
    // One that has a handler gets no further than that.
    Json request = world.boxed_request({"stubborn-call", number});
    request["seccomp"] = deadly;
    Outcome outcome = client.run(request);
    CHECK(outcome.verdict["cause"] == "seccomp");
    CHECK(outcome.verdict["term_signal"] == "SIGKILL");
    CHECK(outcome.verdict["seccomp"]["syscall"] == "getsid");
    // Of a child alone: it is said, and no cause of the payload's own end.
    Json child = filtered({call("native", "getsid")}, deadly);
    Outcome survived = client.run(child);
    CHECK(survived.verdict["ending"] == "exited");
    CHECK(survived.verdict["cause"] == "payload");
    CHECK(survived.verdict["seccomp"]["syscall"] == "getsid");
    // Everything else deadly: nothing of ours needs a call that it forbids.
    Json strict = world.boxed_request({"noop"});
    strict["seccomp"] = {{"allow", {"@start", "rt_sigaction", "rt_sigprocmask"}},
                         {"default", "kill_process"}};
    CHECK(client.run(strict).verdict["exit_code"] == 0);
  }
}

}  // namespace
}  // namespace cloister::security_test
