#include "resolve/filter.hpp"

#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "plan/baseline.hpp"
#include "resolve/classic_bpf.hpp"
#include "resolve/draft.hpp"
#include "sys/names.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {
namespace {

using request::SeccompAction;
using request::SeccompAnswer;
using request::SeccompComparison;
using request::SeccompConditions;
using request::SeccompOperator;
using request::SeccompProfile;
using request::SeccompRule;

// As OCI profiles name them: `archMap`, and `arches` of the conditions.
struct Architecture {
  const char* name;
  const char* short_name;
  uint32_t token;
};
constexpr Architecture kArchitectures[] = {
    {"SCMP_ARCH_X86_64", "amd64", SCMP_ARCH_X86_64},
    {"SCMP_ARCH_X86", "x86", SCMP_ARCH_X86},
    {"SCMP_ARCH_X32", "x32", SCMP_ARCH_X32},
    {"SCMP_ARCH_AARCH64", "arm64", SCMP_ARCH_AARCH64},
    {"SCMP_ARCH_ARM", "arm", SCMP_ARCH_ARM},
    {"SCMP_ARCH_MIPS", "mips", SCMP_ARCH_MIPS},
    {"SCMP_ARCH_MIPS64", "mips64", SCMP_ARCH_MIPS64},
    {"SCMP_ARCH_MIPS64N32", "mips64n32", SCMP_ARCH_MIPS64N32},
    {"SCMP_ARCH_MIPSEL", "mipsel", SCMP_ARCH_MIPSEL},
    {"SCMP_ARCH_MIPSEL64", "mipsel64", SCMP_ARCH_MIPSEL64},
    {"SCMP_ARCH_MIPSEL64N32", "mipsel64n32", SCMP_ARCH_MIPSEL64N32},
    {"SCMP_ARCH_PPC", "ppc", SCMP_ARCH_PPC},
    {"SCMP_ARCH_PPC64", "ppc64", SCMP_ARCH_PPC64},
    {"SCMP_ARCH_PPC64LE", "ppc64le", SCMP_ARCH_PPC64LE},
    {"SCMP_ARCH_RISCV64", "riscv64", SCMP_ARCH_RISCV64},
    {"SCMP_ARCH_S390", "s390", SCMP_ARCH_S390},
    {"SCMP_ARCH_S390X", "s390x", SCMP_ARCH_S390X}};

// Other ABIs that a kernel of this architecture also serves: left out, they
// would be ways around the filter.
std::vector<uint32_t> kin_of(uint32_t native) {
  if (native == SCMP_ARCH_X86_64) return {SCMP_ARCH_X86, SCMP_ARCH_X32};
  if (native == SCMP_ARCH_AARCH64) return {SCMP_ARCH_ARM};
  return {};
}

const Architecture* architecture(const std::string& name) {
  for (const Architecture& one : kArchitectures)
    if (name == one.name) return &one;
  return nullptr;
}

bool in_a_group(const std::string& name) {
  for (const std::string& group : request::seccomp_groups()) {
    const auto& calls = *request::seccomp_group(group);
    if (std::find(calls.begin(), calls.end(), name) != calls.end()) return true;
  }
  return false;
}

class Compiler {
 public:
  Compiler(const SeccompProfile& profile, const FilterSetting& setting)
      : profile_(profile), setting_(setting), rules_(nullptr, seccomp_release) {}

  request::Result<Filter> compile() {
    const bool standard = profile_.base == SeccompProfile::Base::standard;
    otherwise_ = standard ? SeccompAnswer{} : profile_.otherwise;
    const std::vector<SeccompRule> list = standard ? standard_rules(profile_) : profile_.rules;
    if (begin() && architectures()) {
      for (size_t i = 0; i < list.size() && !problem_; ++i)
        add(list[i], standard ? "seccomp.deny" : "seccomp.syscalls[" + std::to_string(i) + ']');
      if (!problem_) keep_deaths_beside_the_baseline();
      if (!problem_) finish();
    }
    if (problem_) return *std::move(problem_);
    if (profile_.log) filter_.flags |= plan::kFilterLog;
    if (profile_.spec_allow) filter_.flags |= plan::kFilterSpecAllow;
    say_skipped();
    return std::move(filter_);
  }

 private:
  bool fail(std::string field, std::string what, int error) {
    if (!problem_) problem_ = failed_call(std::move(field), std::move(what), error);
    return false;
  }

  // A death that init brings about: it can say for which call. The kernel's own
  // says that to nobody but the log of the host.
  uint32_t action(const SeccompAnswer& answer) {
    switch (answer.action) {
      case SeccompAction::allow: return SCMP_ACT_ALLOW;
      case SeccompAction::error: return SCMP_ACT_ERRNO(answer.error);
      case SeccompAction::trap: filter_.flags |= plan::kFilterSignals; return SCMP_ACT_TRAP;
      case SeccompAction::kill_thread:
        filter_.flags |= plan::kFilterSignals;
        return SCMP_ACT_KILL_THREAD;
      case SeccompAction::kill_process:
        filter_.flags |= plan::kFilterWatched;
        return SCMP_ACT_NOTIFY;
    }
    return SCMP_ACT_KILL_PROCESS;
  }

  bool begin() {
    rules_.reset(seccomp_init(action(otherwise_)));
    if (!rules_) return fail("seccomp", "libseccomp cannot begin a filter", ENOMEM);
    // What comes by an ABI that the profile does not name finds no call there.
    int error = seccomp_attr_set(rules_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    if (!error) error = seccomp_attr_set(rules_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return !error || fail("seccomp", "libseccomp cannot begin a filter", -error);
  }

  bool architectures() {
    const uint32_t native = seccomp_arch_native();
    std::vector<std::string> named = profile_.architectures;
    std::string field = "seccomp.architectures";
    if (!profile_.architecture_map.empty()) {
      field = "seccomp.archMap";
      for (const auto& one : profile_.architecture_map) {
        const Architecture* known = architecture(one.native);
        if (!known || known->token != native) continue;
        named = one.more;
        named.push_back(one.native);
      }
      if (named.empty()) return refuse(field, "does not name this host's architecture");
    }
    if (named.empty()) {
      for (const uint32_t kin : kin_of(native))
        if (const int error = seccomp_arch_add(rules_.get(), kin))
          return fail("seccomp", "libseccomp cannot add an architecture", -error);
      return true;
    }
    bool has_native = false;
    for (const std::string& name : named) {
      const Architecture* known = architecture(name);
      const std::vector<uint32_t> kin = kin_of(native);
      if (!known ||
          (known->token != native && std::find(kin.begin(), kin.end(), known->token) == kin.end()))
        continue;  // of a machine that this is not
      has_native |= known->token == native;
      const int error = seccomp_arch_add(rules_.get(), known->token);
      if (error && error != -EEXIST) return fail(field, "libseccomp cannot add " + name, -error);
    }
    return has_native || refuse(field, "does not name this host's architecture");
  }

  bool refuse(std::string field, std::string reason) {
    if (!problem_) problem_ = refused(std::move(field), std::move(reason));
    return false;
  }

  bool counts(const SeccompRule& rule) const {
    const auto here = [](const SeccompConditions& conditions) {
      const uint32_t native = seccomp_arch_native();
      return std::any_of(conditions.architectures.begin(), conditions.architectures.end(),
                         [&](const std::string& name) {
                           for (const Architecture& one : kArchitectures)
                             if (one.token == native)
                               return name == one.short_name || name == one.name;
                           return false;
                         });
    };
    const auto reached = [&](const SeccompConditions& conditions) {
      return std::pair(setting_.kernel_major, setting_.kernel_minor) >= *conditions.min_kernel;
    };
    const SeccompConditions &in = rule.includes, &out = rule.excludes;
    if (!in.architectures.empty() && !here(in)) return false;
    if (in.capabilities & ~setting_.capabilities) return false;
    if (in.min_kernel && !reached(in)) return false;
    if (!out.architectures.empty() && here(out)) return false;
    if (out.capabilities & setting_.capabilities) return false;
    return !(out.min_kernel && reached(out));
  }

  // libseccomp takes one comparison an argument. A rule with more is one for
  // each then, as OCI runtimes read it.
  static std::vector<std::vector<SeccompComparison>> alternatives(const SeccompRule& rule) {
    uint32_t seen = 0;
    bool twice = false;
    for (const SeccompComparison& one : rule.arguments) {
      twice |= (seen >> one.index & 1) != 0;
      seen |= 1u << one.index;
    }
    if (!twice) return {rule.arguments};
    std::vector<std::vector<SeccompComparison>> all;
    for (const SeccompComparison& one : rule.arguments) all.push_back({one});
    return all;
  }

  void add(const SeccompRule& rule, const std::string& field) {
    if (!counts(rule)) return;
    // Whatever it is that would happen anyway is no rule to libseccomp.
    if (rule.answer == otherwise_) return;
    const bool narrows = rule.answer.action > otherwise_.action;
    for (const std::string& name : rule.names) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) {
        // A call that this build has no number for. Not letting it through is
        // what happens anyway; holding it back cannot be promised.
        if (narrows && !in_a_group(name)) {
          if (!problem_)
            problem_ = refused(field, "names a call that libseccomp does not know",
                               "a system call of Linux", '"' + name + '"');
          return;
        }
        if (!narrows && !in_a_group(name)) skipped_.insert(name);
        continue;
      }
      for (const auto& comparisons : alternatives(rule)) {
        uint32_t answer = action(rule.answer);
        if (rule.answer.action == SeccompAction::kill_process && is_baselines(name))
          answer = plainly_dead();
        add(number, name, answer, comparisons, field);
      }
      named_.insert(name);
    }
  }

  void add(int number, const std::string& name, uint32_t answer,
           const std::vector<SeccompComparison>& comparisons, const std::string& field) {
    std::vector<scmp_arg_cmp> arguments;
    for (const SeccompComparison& one : comparisons) {
      constexpr scmp_compare kOperators[] = {SCMP_CMP_NE,       SCMP_CMP_LT, SCMP_CMP_LE,
                                             SCMP_CMP_EQ,       SCMP_CMP_GE, SCMP_CMP_GT,
                                             SCMP_CMP_MASKED_EQ};
      arguments.push_back(
          {one.index, kOperators[static_cast<size_t>(one.op)], one.value, one.value_two});
    }
    const int error = seccomp_rule_add_array(
        rules_.get(), answer, number, static_cast<unsigned>(arguments.size()), arguments.data());
    if (error && error != -EEXIST && !problem_)
      problem_ = refused(
          field, "is a rule that libseccomp does not take: " + std::string(sys::errno_text(-error)),
          "", '"' + name + '"');
  }

  static bool is_baselines(const std::string& name) {
    return std::any_of(std::begin(plan::kBaselineRefused), std::end(plan::kBaselineRefused),
                       [&](const char* one) { return name == one; });
  }
  uint32_t plainly_dead() {
    filter_.flags |= plan::kFilterSignals;
    return SCMP_ACT_KILL_PROCESS;
  }

  // To the kernel an errno of the baseline weighs more than our way to kill, and
  // the client said death: there the kernel does it, without a name.
  void keep_deaths_beside_the_baseline() {
    if (otherwise_.action != SeccompAction::kill_process) return;
    for (const char* name : plan::kBaselineRefused) {
      const int number = seccomp_syscall_resolve_name(name);
      if (number != __NR_SCMP_ERROR && !named_.contains(name))
        add(number, name, plainly_dead(), {}, "seccomp");
    }
  }

  void finish() {
    // libseccomp 2.5 gives its program out through a descriptor only.
    const sys::UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
    if (!file) return void(fail("seccomp", "no memory file for the filter", errno));
    if (const int error = seccomp_export_bpf(rules_.get(), file.borrow()))
      return void(fail("seccomp", "libseccomp cannot make the filter", -error));
    const off_t bytes = ::lseek(file.borrow(), 0, SEEK_END);
    std::vector<plan::Instruction> program(static_cast<size_t>(bytes) / sizeof(plan::Instruction));
    if (::pread(file.borrow(), program.data(), static_cast<size_t>(bytes), 0) != bytes)
      return void(fail("seccomp", "the filter cannot be read back", EIO));
    filter_.program = unknown_numbers();
    filter_.program.insert(filter_.program.end(), program.begin(), program.end());
    if (filter_.program.size() > plan::kMaxInstructions)
      problem_ =
          refused("seccomp", "is too large, bpf(2)",
                  "a filter of at most " + std::to_string(plan::kMaxInstructions) + " instructions",
                  std::to_string(filter_.program.size()));
  }

  // Numbers past the last that this build knows, -1 too: ENOSYS, as from a kernel
  // without the call. Goes before the rest of the program; a filter that kills,
  // kills for those as well.
  std::vector<plan::Instruction> unknown_numbers() const {
    const bool lenient = otherwise_.action == SeccompAction::allow;
    if (!lenient && otherwise_.action != SeccompAction::error) return {};
    const auto load = [](uint32_t offset) {
      return plan::Instruction{BPF_LD | BPF_W | BPF_ABS, 0, 0, offset};
    };
    const auto jump = [](unsigned how, uint32_t k, uint8_t yes, uint8_t no) {
      return plan::Instruction{static_cast<uint16_t>(BPF_JMP | how | BPF_K), yes, no, k};
    };
    const plan::Instruction missing{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS};
    constexpr uint32_t kArch = 4, kNumber = 0, kX32 = 0x40000000;
    std::vector<plan::Instruction> program;
    const auto block = [&](uint32_t token, std::vector<plan::Instruction> body) {
      program.push_back(load(kArch));
      program.push_back(jump(BPF_JEQ, token, 0, static_cast<uint8_t>(body.size())));
      program.insert(program.end(), body.begin(), body.end());
    };
    const uint32_t native = seccomp_arch_native();
    if (native == SCMP_ARCH_X86_64) {
      // x32 has the same architecture and numbers of its own, marked by a bit.
      block(AUDIT_ARCH_X86_64, {load(kNumber), jump(BPF_JGE, kX32, 0, 1),
                                jump(BPF_JGT, kX32 + last_number(SCMP_ARCH_X32), 1, 2),
                                jump(BPF_JGT, last_number(SCMP_ARCH_X86_64), 0, 1), missing});
      block(AUDIT_ARCH_I386,
            {load(kNumber), jump(BPF_JGT, last_number(SCMP_ARCH_X86), 0, 1), missing});
    } else {
      for (const uint32_t token : {native, native == SCMP_ARCH_AARCH64 ? SCMP_ARCH_ARM : native})
        block(token, {load(kNumber), jump(BPF_JGT, last_number(token), 0, 1), missing});
    }
    return program;
  }

  static uint32_t last_number(uint32_t token) {
    constexpr uint32_t kFar = 2048, kX32 = 0x40000000;
    const uint32_t mark = token == SCMP_ARCH_X32 ? kX32 : 0;
    uint32_t last = 0;
    for (uint32_t number = 0; number < kFar; ++number) {
      char* const name = seccomp_syscall_resolve_num_arch(token, static_cast<int>(number | mark));
      if (name) last = number;
      ::free(name);
    }
    return last;
  }

  void say_skipped() {
    if (skipped_.empty()) return;
    std::string text = "seccomp: not allowed, because this libseccomp does not know them: ";
    size_t count = 0;
    for (const std::string& name : skipped_) {
      if (count == 16) {
        text += " and " + std::to_string(skipped_.size() - count) + " more";
        break;
      }
      text += (count++ == 0 ? "" : ", ") + name;
    }
    filter_.notes.push_back(std::move(text));
  }

  const SeccompProfile& profile_;
  const FilterSetting& setting_;
  SeccompAnswer otherwise_;
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> rules_;
  Filter filter_;
  std::set<std::string> skipped_, named_;
  std::optional<Problem> problem_;
};

}  // namespace

request::Result<Filter> compile_filter(const SeccompProfile& profile,
                                       const FilterSetting& setting) {
  if (profile.base == SeccompProfile::Base::none) return Filter{};
  return Compiler(profile, setting).compile();
}

std::optional<uint32_t> native_answer(const Filter& filter, int number, uint64_t argument) {
  seccomp_data call{};
  call.nr = number;
  // AUDIT_ARCH_* and SCMP_ARCH_* are the same numbers, but for x32.
  call.arch = seccomp_arch_native();
  for (auto& one : call.args) one = argument;
  return answer_of(filter.program, call);
}

}  // namespace cloister::front
