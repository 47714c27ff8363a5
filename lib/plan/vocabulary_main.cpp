// Prints the tables of lib/plan, one row a line and a tab between two columns,
// for the manual pages and the tests that are made of them. Not installed.
#include <cstdio>

#include "endings.hpp"
#include "hints.hpp"
#include "namespaces.hpp"
#include "plan.hpp"
#include "refusals.hpp"
#include "steps.hpp"

namespace {

template <class... Columns>
void row(const Columns*... columns) {
  (std::printf("%s\t", columns), ...);
  std::putchar('\n');
}

}  // namespace

int main() {
  using namespace cloister::plan;
#define X(id, name, kind, remedy, words, hint) row("rule", name, #id, #kind, #remedy, words, hint);
  CLOISTER_ALWAYS(X)
#undef X
#define X(id, name, kind, remedy, words, hint) \
  row("member", name, #id, #kind, #remedy, words, hint);
  CLOISTER_MEMBERS(X)
#undef X
#define X(id, name, stage, field, element, when, blame, doing) \
  row("step", name, #id, #stage, field_of(Step::id), #when, #blame, doing);
  CLOISTER_STEPS(X)
#undef X
  for (const Hint& hint : kHints) row("hint", describe(hint.step).name, hint.text);
#define X(id, words) row("ending", #id, words);
  CLOISTER_ENDINGS(X)
#undef X
#define X(id, fault, exit_code, words) row("cause", #id, #fault, #exit_code, words);
  CLOISTER_CAUSES(X)
#undef X
#define X(id, word) row("fault", word);
  CLOISTER_FAULTS(X)
#undef X
  for (const NamespaceInfo& each : kNamespaceTable) row("namespace", each.word, each.field);
  return std::fflush(stdout) == 0 ? 0 : 1;
}
