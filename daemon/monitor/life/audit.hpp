// Audit: one record a decision, for whoever reads the journal.
//
// To journald by its native protocol where it listens, else one line to
// standard error. Never waits: what cannot be written at once is counted, and
// the next record says how many are missing. Some values were chosen by a
// client: all are escaped and cut, here and nowhere else.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "decide/policy.hpp"
#include "plan/view.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

class Audit {
 public:
  struct Field {
    const char* name;  // "rule" is CLOISTER_RULE in the journal
    std::string_view value;
  };

  // `journal`: the socket of journald. Without one nothing is recorded: a private
  // service has nobody to answer to but its client.
  explicit Audit(std::optional<std::string> journal);

  // What was decided about a job. `about`: it had been accepted, and one of its
  // descriptors is refused.
  void accepted(const plan::JobState& job, plan::View plan, const Rule& rule);
  void refused(uid_t user, plan::View plan, const plan::Refusal& refusal,
               const plan::JobState* about = nullptr);
  void ended(const plan::JobState& job, plan::View plan, const Rule& rule);
  // A connection that is not served.
  void refused(uid_t user, const plan::Refusal& refusal);

  // Fields without a value are left out.
  void record(std::string_view decision, std::initializer_list<Field> fields);

 private:
  // Nothing when nobody listens there; else whether it was taken.
  std::optional<bool> to_journal(const std::string& entry);
  bool to_stderr(const std::string& line);

  const bool on_;
  std::string journal_;  // empty: standard error only
  sys::UniqueFd socket_;
  uint64_t missing_ = 0;
};

// Printable ASCII without quotes and backslashes as it is, every other byte as
// \xNN; at most kMostOfValue bytes of it, the cut marked by "...".
inline constexpr size_t kMostOfValue = 256;
std::string escaped(std::string_view value);

}  // namespace cloister::monitor
