// Filters without the kernel: what is read, what is made of it, and how the
// program answers, by our own interpreter. The kernel's word is in
// tests/security/filters_test.cpp.
#include <linux/audit.h>
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "outcome.hpp"
#include "plan/baseline.hpp"
#include "resolve/classic_bpf.hpp"
#include "resolve/filter.hpp"

using namespace cloister;
using front::Filter;
using request::json;

namespace {

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
uint32_t fails(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }

request::Result<request::SeccompProfile> read(const std::string& text) {
  const auto document = request::parse_text(text);
  REQUIRE(document.has_value());
  return request::read_seccomp(*document);
}

front::FilterSetting setting(uint64_t capabilities = 0) { return {capabilities, 6, 1}; }

Filter filter(const std::string& text, uint64_t capabilities = 0) {
  const auto profile = read(text);
  REQUIRE_MESSAGE(profile.has_value(),
                  (profile ? "" : profile.error().field + ' ' + profile.error().reason));
  const auto made = front::compile_filter(*profile, setting(capabilities));
  REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().field + ' ' + made.error().reason));
  return *made;
}

// By the name of the call, under one ABI.
uint32_t answer(const Filter& filter, uint32_t abi, const char* name,
                std::vector<uint64_t> arguments = {}) {
  seccomp_data call{};
  call.nr = seccomp_syscall_resolve_name_arch(abi, name);
  // To libseccomp the socket calls of i386 are parts of socketcall(2) first.
  if (call.nr == -101) call.nr = 359;
  REQUIRE_MESSAGE(call.nr >= 0, name);
  call.arch = abi == SCMP_ARCH_X32 ? AUDIT_ARCH_X86_64 : abi;
  for (size_t i = 0; i < arguments.size(); ++i) call.args[i] = arguments[i];
  const auto answer = front::answer_of(filter.program, call);
  REQUIRE(answer.has_value());
  return *answer;
}

uint32_t by_number(const Filter& filter, uint32_t arch, uint32_t number) {
  seccomp_data call{};
  call.nr = static_cast<int>(number);
  call.arch = arch;
  const auto answer = front::answer_of(filter.program, call);
  REQUIRE(answer.has_value());
  return *answer;
}

std::string refusal_of(const std::string& text) {
  const auto profile = read(text);
  if (!profile) return profile.error().field + ": " + profile.error().reason;
  const auto made = front::compile_filter(*profile, setting());
  return made ? "" : made.error().field + ": " + made.error().reason;
}

const uint32_t kAbis[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X32, SCMP_ARCH_X86};

}  // namespace

TEST_CASE("the words of a filter are read strictly, and a refusal names the place") {
  CHECK(read(R"("none")")->base == request::SeccompProfile::Base::none);
  for (const bool log : {false, true})
    for (const bool spec_allow : {false, true}) {
      const auto flags = read(std::string(R"({"defaultAction": "SCMP_ACT_ALLOW", "flags": [)") +
                              (log ? R"("SECCOMP_FILTER_FLAG_LOG", )" : "") +
                              (spec_allow ? R"("SECCOMP_FILTER_FLAG_SPEC_ALLOW", )" : "") +
                              R"("SECCOMP_FILTER_FLAG_TSYNC"]})");
      REQUIRE(flags.has_value());
      CHECK(flags->log == log);
      CHECK(flags->spec_allow == spec_allow);
    }
  CHECK(read(R"("default")")->base == request::SeccompProfile::Base::standard);
  CHECK(refusal_of(R"("nothing")") == "seccomp: is not one of the alternatives");
  CHECK(refusal_of("{}") == "seccomp: is not one of the alternatives");
  CHECK(refusal_of("[]") == "seccomp: is not one of the alternatives");
  CHECK(refusal_of(R"({"deny": ["ptrace"], "allow": []})").starts_with("seccomp.deny: is unknown"));
  CHECK(refusal_of(R"({"deny": ["@nothing"]})") == "seccomp.deny[0]: is not a group");
  CHECK(refusal_of(R"({"deny": ["p trace"]})") == "seccomp.deny[0]: is not a name");
  CHECK(refusal_of(R"({"deny": ["ptrace"], "errno": "EWHAT"})") ==
        "seccomp.errno: is not an errno");
  CHECK(refusal_of(R"({"deny": ["ptrace"], "errno": 0})") == "seccomp.errno: would report success");
  CHECK(refusal_of(R"({"allow": ["read"], "default": "log"})") ==
        "seccomp.default: is not an allowed word");
  CHECK(refusal_of(R"({"allow": ["read"], "default": "kill_process", "errno": "EPERM"})") ==
        "seccomp.errno: belongs to \"default\": \"errno\"");
  const auto oci = [](const std::string& rest) {
    return refusal_of(R"({"defaultAction": "SCMP_ACT_ERRNO", )" + rest + "}");
  };
  CHECK(oci(R"("syscalls": [{"names": ["read"]}])") == "seccomp.syscalls[0].action: is missing");
  CHECK(oci(R"("syscalls": [{"action": "SCMP_ACT_ALLOW"}])") ==
        "seccomp.syscalls[0].names: is missing");
  CHECK(oci(R"("syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "x": 1}])") ==
        "seccomp.syscalls[0].x: is unknown");
  CHECK(oci(R"("syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                             "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}])") ==
        "seccomp.syscalls[0].args[0].index: is out of range");
  CHECK(oci(R"("syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                             "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_XOR"}]}])") ==
        "seccomp.syscalls[0].args[0].op: is not a comparison");
  CHECK(oci(R"("syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                             "includes": {"caps": ["CAP_FLY"]}}])") ==
        "seccomp.syscalls[0].includes.caps[0]: is not a capability");
  CHECK(oci(R"("syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                             "includes": {"minKernel": "4"}}])") ==
        "seccomp.syscalls[0].includes.minKernel: is not a version");
  CHECK(oci(R"("listenerPath": "/run/x")") == "seccomp.listenerPath: is unknown");
  CHECK(oci(R"("architectures": ["SCMP_ARCH_S390X"])") ==
        "seccomp.architectures: does not name this host's architecture");
}

TEST_CASE(
    "actions that need a supervisor, a tracer or the host's log are refused with the reason") {
  for (const auto& [action, reason] : {std::pair{"SCMP_ACT_NOTIFY", "supervisor"},
                                       {"SCMP_ACT_TRACE", "tracer"},
                                       {"SCMP_ACT_LOG", "log of the host"}}) {
    const std::string text = std::string(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ptrace"], "action": ")") +
                             action + "\"}]}";
    CHECK(refusal_of(text).starts_with("seccomp.syscalls[0].action: "));
    CHECK(refusal_of(text).find(reason) != std::string::npos);
    CHECK(refusal_of(std::string(R"({"defaultAction": ")") + action + "\"}").find(reason) !=
          std::string::npos);
  }
}

TEST_CASE("a name that libseccomp does not know is skipped and said, or refused where it narrows") {
  const Filter made = filter(R"({"allow": ["@start", "read", "frobnicate"]})");
  REQUIRE(made.notes.size() == 1);
  CHECK(made.notes[0].find("frobnicate") != std::string::npos);
  CHECK(refusal_of(R"({"deny": ["frobnicate"]})").find("libseccomp does not know") !=
        std::string::npos);
  CHECK(refusal_of(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                       {"names": ["frobnicate"], "action": "SCMP_ACT_ERRNO"}]})")
            .find("libseccomp does not know") != std::string::npos);
}

#if defined(__x86_64__)

TEST_CASE("the default filter answers every ABI the same") {
  const Filter made = filter(R"("default")");
  MESSAGE("the default filter has ", made.program.size(), " instructions");
  CHECK(made.notes.empty());
  CHECK(made.flags == 0);
  for (const uint32_t abi : kAbis) {
    CAPTURE(abi);
    for (const char* name : {"mount",       "umount2",         "pivot_root",  "chroot",
                             "open_tree",   "move_mount",      "fsopen",      "setns",
                             "init_module", "kexec_load",      "reboot",      "swapon",
                             "bpf",         "perf_event_open", "userfaultfd", "open_by_handle_at",
                             "acct",        "settimeofday",    "syslog",      "quotactl"})
      CHECK_MESSAGE(answer(made, abi, name) == fails(EPERM), name);
    for (const char* name : {"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register",
                             "keyctl", "add_key", "request_key"})
      CHECK_MESSAGE(answer(made, abi, name) == fails(ENOSYS), name);
    for (const char* name : {"execve",
                             "execveat",
                             "exit_group",
                             "fork",
                             "vfork",
                             "ptrace",
                             "personality",
                             "read",
                             "openat2",
                             "seccomp",
                             "landlock_restrict_self",
                             "futex_waitv",
                             "memfd_create",
                             "prctl",
                             "process_vm_readv",
                             "kcmp",
                             "pidfd_open",
                             "mlock",
                             "sched_setattr",
                             "mknod"})
      CHECK_MESSAGE(answer(made, abi, name) == kAllow, name);
    CHECK(answer(made, abi, "clone", {SIGCHLD}) == kAllow);
    CHECK(answer(made, abi, "clone", {CLONE_VM | CLONE_FS | CLONE_THREAD | CLONE_SIGHAND}) ==
          kAllow);
    CHECK(answer(made, abi, "unshare", {CLONE_FS | CLONE_FILES}) == kAllow);
    for (const uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
      for (const uint64_t high : {uint64_t{0}, uint64_t{0xdeadbeef} << 32}) {
        CHECK(answer(made, abi, "clone", {high | flag | SIGCHLD}) == fails(EPERM));
        CHECK(answer(made, abi, "unshare", {high | flag}) == fails(EPERM));
      }
    }
    CHECK(answer(made, abi, "unshare", {CLONE_NEWTIME}) == fails(EPERM));
    for (const uint64_t high : {uint64_t{0}, uint64_t{1} << 32, uint64_t{0xffffffff} << 32}) {
      for (const uint64_t family : {AF_ALG, AF_VSOCK, AF_PACKET, AF_KEY, AF_CAN, AF_BLUETOOTH})
        CHECK(answer(made, abi, "socket", {high | family, SOCK_RAW, 0}) == fails(EAFNOSUPPORT));
      CHECK(answer(made, abi, "socket", {high | AF_APPLETALK}) == fails(EAFNOSUPPORT));
      CHECK(answer(made, abi, "socket", {AF_INET, high | SOCK_RAW | SOCK_CLOEXEC, 0}) ==
            fails(EPERM));
      CHECK(answer(made, abi, "socket", {AF_INET6, high | SOCK_RAW, 0}) == fails(EPERM));
      CHECK(answer(made, abi, "socket", {AF_NETLINK, SOCK_RAW, high | 9}) ==
            fails(EPROTONOSUPPORT));
    }
    for (const uint64_t family : {AF_UNIX, AF_INET, AF_INET6})
      CHECK(answer(made, abi, "socket", {family, SOCK_STREAM | SOCK_CLOEXEC, 0}) == kAllow);
    CHECK(answer(made, abi, "socket", {AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0}) == kAllow);
  }
  CHECK(answer(made, SCMP_ARCH_X86, "socketcall", {1}) == fails(ENOSYS));
  for (const uint32_t arch : {uint32_t{AUDIT_ARCH_X86_64}, uint32_t{AUDIT_ARCH_I386}})
    for (const uint32_t number : {600u, 1023u, 1024u, 5000u, 0x40000000u + 700, UINT32_MAX})
      CHECK_MESSAGE(by_number(made, arch, number) == fails(ENOSYS), number);
  CHECK(by_number(made, AUDIT_ARCH_AARCH64, 1) == fails(ENOSYS));
}

TEST_CASE("deny and permit change the default, and nothing else") {
  const Filter less = filter(R"({"deny": ["@debug", "clone"], "errno": "EACCES"})");
  CHECK(answer(less, SCMP_ARCH_X86_64, "ptrace") == fails(EACCES));
  CHECK(answer(less, SCMP_ARCH_X86, "ptrace") == fails(EACCES));
  CHECK(answer(less, SCMP_ARCH_X86_64, "clone", {SIGCHLD}) == fails(EACCES));
  CHECK(answer(less, SCMP_ARCH_X86_64, "mount") == fails(EPERM));
  const Filter more = filter(R"({"permit": ["@namespaces", "@mount"]})");
  for (const uint32_t abi : kAbis) {
    CHECK(answer(more, abi, "mount") == kAllow);
    CHECK(answer(more, abi, "clone3") == kAllow);
    CHECK(answer(more, abi, "clone", {CLONE_NEWUSER}) == kAllow);
    CHECK(answer(more, abi, "unshare", {CLONE_NEWUSER}) == kAllow);
    CHECK(answer(more, abi, "bpf") == fails(EPERM));
  }
}

TEST_CASE("an allow list lets nothing else through") {
  const Filter made = filter(R"({"allow": ["@start", "getpid"]})");
  for (const uint32_t abi : kAbis) {
    CHECK(answer(made, abi, "getpid") == kAllow);
    CHECK(answer(made, abi, "execve") == kAllow);
    CHECK(answer(made, abi, "getppid") == fails(EPERM));
  }
  CHECK(by_number(made, AUDIT_ARCH_X86_64, 1000) == fails(ENOSYS));
  const Filter deadly = filter(R"({"allow": ["@start"], "default": "kill_process"})");
  CHECK(deadly.flags == (plan::kFilterWatched | plan::kFilterSignals));
  CHECK(answer(deadly, SCMP_ARCH_X86_64, "getppid") == SECCOMP_RET_USER_NOTIF);
  CHECK(by_number(deadly, AUDIT_ARCH_X86_64, 1000) == SECCOMP_RET_USER_NOTIF);
  // What the baseline answers would outweigh our own way to kill.
  CHECK(answer(deadly, SCMP_ARCH_X86_64, "kexec_load") == SECCOMP_RET_KILL_PROCESS);
  CHECK(filter(R"({"allow": ["@start"], "default": "trap"})").flags == plan::kFilterSignals);
}

TEST_CASE("a rule counts by capabilities, architecture and kernel") {
  const auto made = [](const char* condition, uint64_t capabilities) {
    return answer(filter(std::string(R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                           {"names": ["mount"], "action": "SCMP_ACT_ALLOW", )") +
                             condition + "}]}",
                         capabilities),
                  SCMP_ARCH_X86_64, "mount") == kAllow;
  };
  constexpr uint64_t kAdmin = uint64_t{1} << 21, kBoot = uint64_t{1} << 22;
  const char* const include = R"("includes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_BOOT"]})";
  CHECK(made(include, kAdmin | kBoot));
  CHECK_FALSE(made(include, kAdmin));
  const char* const exclude = R"("excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_BOOT"]})";
  CHECK(made(exclude, 0));
  CHECK_FALSE(made(exclude, kAdmin));
  CHECK(made(R"("includes": {"arches": ["arm64", "amd64"]})", 0));
  CHECK_FALSE(made(R"("includes": {"arches": ["arm64"]})", 0));
  CHECK_FALSE(made(R"("excludes": {"arches": ["amd64"]})", 0));
  CHECK(made(R"("includes": {"minKernel": "6.1"})", 0));
  CHECK_FALSE(made(R"("includes": {"minKernel": "6.2"})", 0));
  CHECK_FALSE(made(R"("excludes": {"minKernel": "4.8"})", 0));
}

TEST_CASE("an ABI that a profile does not name has no calls") {
  const Filter made = filter(R"({"defaultAction": "SCMP_ACT_ALLOW",
                                 "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"]})");
  CHECK(answer(made, SCMP_ARCH_X86_64, "getpid") == kAllow);
  CHECK(answer(made, SCMP_ARCH_X86, "getpid") == fails(ENOSYS));
}

TEST_CASE("one argument twice means either, as OCI runtimes read it") {
  const Filter made = filter(R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
      {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
       "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
                {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]})");
  CHECK(answer(made, SCMP_ARCH_X86_64, "personality", {0}) == kAllow);
  CHECK(answer(made, SCMP_ARCH_X86_64, "personality", {8}) == kAllow);
  CHECK(answer(made, SCMP_ARCH_X86_64, "personality", {9}) == fails(EPERM));
}

#endif

TEST_CASE("a filter of more than 4096 instructions is refused") {
  // Each rule with six comparisons of its own: nothing that a tree could fold.
  const auto of = [](int count) {
    json rules = json::array();
    for (int i = 0; i < count; ++i) {
      json arguments = json::array();
      for (int index = 0; index < 6; ++index)
        arguments.push_back({{"index", index},
                             {"value", (uint64_t{1} << 40) * (i + 1) + index},
                             {"op", "SCMP_CMP_EQ"}});
      // Each call has a tree of its own, since no two have the same rules.
      json names = json::array();
      const char* const calls[] = {"ioctl", "prctl", "fcntl", "mmap", "mprotect", "madvise"};
      for (int call = 0; call < 6; ++call)
        if (i % (call + 1) == 0) names.push_back(calls[call]);
      rules.push_back({{"names", names}, {"action", "SCMP_ACT_ERRNO"}, {"args", arguments}});
    }
    return json{{"defaultAction", "SCMP_ACT_ALLOW"}, {"syscalls", rules}}.dump();
  };
  CHECK(refusal_of(of(10)).empty());
  CHECK(refusal_of(of(80)) == "seccomp: is too large, bpf(2)");
}

TEST_CASE("a profile has at most 512 comparisons") {
  const auto of = [](int count) {
    json rules = json::array();
    for (int i = 0; i < count; ++i)
      rules.push_back({{"names", {"ioctl"}},
                       {"action", "SCMP_ACT_ERRNO"},
                       {"args", {{{"index", 1}, {"value", i}, {"op", "SCMP_CMP_EQ"}}}}});
    return json{{"defaultAction", "SCMP_ACT_ALLOW"}, {"syscalls", rules}}.dump();
  };
  CHECK(refusal_of(of(512)).empty());
  CHECK(refusal_of(of(513)) == "seccomp.syscalls[512].args[0]: exceeds the number of comparisons");
}

TEST_CASE("the interpreter gives no answer to a program that leaves its end") {
  const seccomp_data call{};
  CHECK_FALSE(front::answer_of({}, call));
  const plan::Instruction jump[] = {{BPF_JMP | BPF_JA, 0, 0, 7}};
  CHECK_FALSE(front::answer_of(jump, call));
  const plan::Instruction beyond[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 64}};
  CHECK_FALSE(front::answer_of(beyond, call));
}
