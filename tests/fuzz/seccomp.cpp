// The reader of system call filters: what it takes is within the bounds that a
// compiler of filters may rely on.
#include <nlohmann/json.hpp>
#include <string_view>

#include "fuzz.hpp"
#include "request/seccomp.hpp"

namespace cloister::fuzz {
namespace {

using request::SeccompAction;
using request::SeccompAnswer;

bool is_sound(const SeccompAnswer& answer) {
  return answer.error <= 4095 && (answer.error == 0 || answer.action == SeccompAction::error);
}

void profile(const request::SeccompProfile& read) {
  using Base = request::SeccompProfile::Base;
  require(is_sound(read.otherwise) && is_sound(read.denial), "an errno belongs to an error");
  require(read.base == Base::own || read.rules.empty(), "only a filter of one's own has rules");
  size_t comparisons = 0;
  for (const request::SeccompRule& rule : read.rules) {
    require(is_sound(rule.answer), "an errno belongs to an error");
    for (const std::string& name : rule.names)
      require(!name.empty() && name[0] != '@', "groups are spelled out");
    for (const request::SeccompComparison& one : rule.arguments) {
      require(one.index <= 5, "a call has six arguments");
      ++comparisons;
    }
  }
  require(comparisons <= 512, "the comparisons are bounded");
}

}  // namespace

void seccomp(Bytes input) {
  const std::string_view bytes(reinterpret_cast<const char*>(input.data()), input.size());
  const auto document = request::parse_text(bytes);
  if (!document) return;
  const auto read = request::read_seccomp(*document);
  if (!read)
    require(read.error().field.starts_with("seccomp") && !read.error().reason.empty(),
            "a refusal has its field and reason");
  else
    profile(*read);
}

}  // namespace cloister::fuzz
