#include "life/answers.hpp"

#include <cstring>

#include "decide/refusal.hpp"

namespace cloister::monitor {

using plan::Ask;
using plan::Refusal;
using plan::Tell;
using plan::TellKind;

Tell make_tell(TellKind kind, uint32_t sequence) {
  Tell tell;
  std::memset(&tell, 0, sizeof tell);
  tell.kind = kind;
  tell.sequence = sequence;
  return tell;
}

void done(Front& front, const Ask& ask) { front.tell(make_tell(TellKind::done, ask.sequence)); }

void refuse(Front& front, const Ask& ask, const Refusal& refusal) {
  Tell tell = make_tell(TellKind::refused, ask.sequence);
  tell.refusal = refusal;
  if (ask.kind == plan::AskKind::submit)
    front.tell(tell, {front.plan()});
  else
    front.tell(tell);
}

void refuse(Front& front, const Ask& ask, plan::Reason reason, const char* field) {
  refuse(front, ask, refusal(field, reason, {}));
}

}  // namespace cloister::monitor
