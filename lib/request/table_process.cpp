// The vocabulary: streams, file actions and scheduling. See table.hpp.
#include "table.hpp"

namespace cloister::request {
namespace {

constexpr Choice<OnLimit, 2> kOnLimit{{{"kill", OnLimit::kill}, {"truncate", OnLimit::truncate}}};
constexpr Choice<Keep, 3> kKeep{{{"head", Keep::head}, {"tail", Keep::tail}, {"both", Keep::both}}};

struct Policy {
  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  void write(const Place& at, int32_t value, json& out) const;
  void schema(json& out) const;
};

bool Policy::read(Reading& in, const Place& at, const json& value, int32_t& out) const {
  if (is_word(value, "SCHED_SPORADIC")) {
    // POSIX has it, Linux never had.
    if (!in.problem)
      in.problem = {Problem::Kind::unsupported, at.path(), "Linux has no SCHED_SPORADIC", "", ""};
    return false;
  }
  return Named{policies, "a policy"}.read(in, at, value, out);
}

void Policy::write(const Place& at, int32_t value, json& out) const {
  Named{policies, "a policy"}.write(at, value, out);
}

void Policy::schema(json& out) const { Named{policies, "a policy"}.schema(out); }

constexpr Choice<IoClass, 4> kIoClass{{{"none", IoClass::none},
                                       {"realtime", IoClass::realtime},
                                       {"best_effort", IoClass::best_effort},
                                       {"idle", IoClass::idle}}};

}  // namespace

template <>
const Table& table<Capture>() {
  static constexpr Line kRows[] = {
      Field{"max", &Capture::max, Size{1}, "bytes kept; 10M if absent"},
      Field{"on_limit", &Capture::on_limit, kOnLimit,
            "kill: a job that writes more is stopped; truncate: the rest is not kept; truncate if "
            "absent"},
      Field{"keep", &Capture::keep, kKeep,
            "the part of more than max that is kept: the beginning, the end, or half of each; "
            "head if absent"}};
  static constexpr Table kTable{kRows, broken_rule<Capture>};
  return kTable;
}

template <>
const Table& table<OpenAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"fd", &OpenAction::fd, kFd, "where the opened file is placed"}),
      kRequired(Field{"path", &OpenAction::path, kPath, "resolved by the payload, from its cwd"}),
      Field{"flags", &OpenAction::flags, Mask{open_flags, "a flag of open(2)"},
            "O_RDONLY if absent"},
      Field{"mode", &OpenAction::mode, kMode, "of a file that is created; 0666 if absent"}};
  static constexpr Table kTable{kRows, broken_rule<OpenAction>};
  return kTable;
}

template <>
const Table& table<Dup2Action>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"fd", &Dup2Action::fd, kFd, "the descriptor that is copied"}),
      kRequired(Field{"new_fd", &Dup2Action::new_fd, kFd, "the number of the copy"}),
      Field{"inheritable", &Dup2Action::inheritable, kBoolean, "survives exec; true if absent"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<CloseAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"fd", &CloseAction::fd, kFd, "the descriptor that is closed"})};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<CloseRangeAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"fd_low", &CloseRangeAction::fd_low, kFd, "the first that is closed"}),
      kRequired(Field{"fd_high", &CloseRangeAction::fd_high, kFd, "one past the last"})};
  static constexpr Table kTable{kRows, broken_rule<CloseRangeAction>};
  return kTable;
}

template <>
const Table& table<ReceiveAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"passed_fd", &ReceiveAction::passed_fd, kPassedFdIndex,
                      "index among the descriptors sent with the message"}),
      kRequired(Field{"fd", &ReceiveAction::fd, kFd, "its number in the payload"}),
      Field{"directory", &ReceiveAction::directory, kBoolean,
            "true lets it be a directory, which leads out of the new root"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<ChdirAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"path", &ChdirAction::path, kPath, "the new working directory"})};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<FchdirAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"fd", &FchdirAction::fd, kFd, "an open directory"})};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<TcsetpgrpAction>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"fd", &TcsetpgrpAction::fd, kFd, "a controlling terminal"})};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Terminal>() {
  static constexpr Line kRows[] = {
      Field{"rows", &Terminal::rows, Integer{1, UINT16_MAX}, "of a pty"},
      Field{"columns", &Terminal::columns, Integer{1, UINT16_MAX}, "of a pty"},
      Field{"controlling_fd", &Terminal::controlling_fd, kFd,
            "a terminal the payload holds, which becomes its controlling one"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Scheduler>() {
  static constexpr Line kRows[] = {
      Field{"policy", &Scheduler::policy, Policy{}, "SCHED_*; absent: the parameters only"},
      Field{"priority", &Scheduler::priority, Integer{0, 99}, "1 to 99 for FIFO and RR, else 0"},
      Field{"reset_on_fork", &Scheduler::reset_on_fork, kBoolean, "SCHED_RESET_ON_FORK"},
      Field{"runtime_ns", &Scheduler::runtime_ns, kNanoseconds, "SCHED_DEADLINE"},
      Field{"deadline_ns", &Scheduler::deadline_ns, kNanoseconds, "SCHED_DEADLINE"},
      Field{"period_ns", &Scheduler::period_ns, kNanoseconds, "SCHED_DEADLINE"}};
  static constexpr Table kTable{kRows, broken_rule<Scheduler>};
  return kTable;
}

template <>
const Table& table<IoPriority>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"class", &IoPriority::io_class, kIoClass, "ioprio_set(2)"}),
      Field{"level", &IoPriority::level, Integer{0, 7}, "0 is the highest; 4 if absent"}};
  static constexpr Table kTable{kRows, broken_rule<IoPriority>};
  return kTable;
}

}  // namespace cloister::request
