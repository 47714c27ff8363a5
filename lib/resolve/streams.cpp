// stdin, stdout, stderr and file_actions, as one list of actions.
#include <fcntl.h>
#include <unistd.h>

#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

class Actions {
 public:
  explicit Actions(Draft& draft) : draft_(draft) {}

  MaybeProblem stream(const char* field, int32_t fd, const Stream& stream) {
    field_ = field;
    index_ = plan::kNone;
    fd_ = fd;
    return std::visit([&](const auto& kind) { return add(kind); }, stream);
  }

  MaybeProblem file_action(uint32_t index, const FileAction& action) {
    field_ = "file_actions[" + std::to_string(index) + ']';
    index_ = index;
    return std::visit([&](const auto& kind) { return add(kind); }, action);
  }

  bool pty() const { return pty_; }
  plan::Span<plan::Action> finish() { return draft_.plan.span(list_); }

 private:
  // Descriptors 0, 1 and 2 are /dev/null already when init starts.
  MaybeProblem add(const Null&) { return std::nullopt; }

  MaybeProblem add(const PassedFd& passed) {
    return receive(field_ + ".passed_fd", passed.index, fd_, false);
  }

  MaybeProblem add(const Inline& content) {
    auto file = sealed_content("stdin", content.bytes);
    if (!file) return file.error();
    plan::Action& action = append(plan::Op::receive, fd_);
    action.descriptor = draft_.descriptors.add(*std::move(file), plan::Use::payload);
    return std::nullopt;
  }

  MaybeProblem add(const OpenPath& open) {
    plan::Action& action = append(plan::Op::open, fd_);
    action.flags = fd_ == STDIN_FILENO ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC;
    action.mode = 0666;
    action.path = draft_.plan.text(open.path);
    return std::nullopt;
  }

  MaybeProblem add(const Capture& wanted) {
    plan::Capture& capture = draft_.plan->capture[fd_ - 1];
    capture.max = wanted.max.value_or(plan::kDefaultCapture);
    capture.on_limit =
        wanted.on_limit == OnLimit::kill ? plan::OnLimit::kill : plan::OnLimit::truncate;
    capture.keep = static_cast<plan::Keep>(wanted.keep.value_or(Keep::head));
    append(plan::Op::capture, fd_);
    return std::nullopt;
  }

  MaybeProblem add(const Pty&) {
    append(plan::Op::pty, fd_);
    pty_ = true;
    return std::nullopt;
  }

  MaybeProblem add(const LikeStdout&) {
    append(plan::Op::dup2, STDOUT_FILENO).new_fd = fd_;
    return std::nullopt;
  }

  MaybeProblem add(const OpenAction& open) {
    plan::Action& action = append(plan::Op::open, open.fd);
    action.flags = open.flags.value_or(O_RDONLY);
    action.mode = open.mode.value_or(0666);
    action.path = draft_.plan.text(open.path);
    return std::nullopt;
  }

  MaybeProblem add(const Dup2Action& dup2) {
    plan::Action& action = append(plan::Op::dup2, dup2.fd);
    action.new_fd = dup2.new_fd;
    action.flags = dup2.inheritable.value_or(true) ? 0 : 1;
    return std::nullopt;
  }

  MaybeProblem add(const CloseAction& close) {
    append(plan::Op::close, close.fd);
    return std::nullopt;
  }

  MaybeProblem add(const CloseRangeAction& range) {
    append(plan::Op::close_range, range.fd_low).new_fd = range.fd_high;
    return std::nullopt;
  }

  MaybeProblem add(const ReceiveAction& action) {
    return receive(field_ + ".receive.passed_fd", action.passed_fd, action.fd,
                   action.directory.value_or(false));
  }

  MaybeProblem add(const ChdirAction& chdir) {
    append(plan::Op::chdir, 0).path = draft_.plan.text(chdir.path);
    return std::nullopt;
  }

  MaybeProblem add(const FchdirAction& fchdir) {
    append(plan::Op::fchdir, fchdir.fd);
    return std::nullopt;
  }

  MaybeProblem add(const TcsetpgrpAction& action) {
    append(plan::Op::tcsetpgrp, action.fd);
    return std::nullopt;
  }

  MaybeProblem receive(const std::string& field, uint32_t index, int32_t fd, bool directory) {
    const auto descriptor = draft_.descriptors.pass(field, index, plan::Use::payload, directory);
    if (!descriptor) return descriptor.error();
    append(plan::Op::receive, fd).descriptor = *descriptor;
    return std::nullopt;
  }

  plan::Action& append(plan::Op op, int32_t fd) {
    plan::Action action{};
    action.op = op;
    action.fd = fd;
    action.descriptor = plan::kNone;
    action.index = index_;
    action.path = draft_.plan.text("");
    return list_.emplace_back(action);
  }

  Draft& draft_;
  std::vector<plan::Action> list_;
  std::string field_;
  uint32_t index_ = plan::kNone;
  int32_t fd_ = 0;
  bool pty_ = false;
};

}  // namespace

MaybeProblem resolve_streams(Draft& draft) {
  const Request& request = draft.request;
  Actions actions(draft);
  if (auto problem = actions.stream("stdin", STDIN_FILENO, *request.standard_input)) return problem;
  if (auto problem = actions.stream("stdout", STDOUT_FILENO, *request.standard_output))
    return problem;
  if (auto problem = actions.stream("stderr", STDERR_FILENO, *request.standard_error))
    return problem;
  if (request.file_actions)
    for (uint32_t i = 0; i < request.file_actions->size(); ++i)
      if (auto problem = actions.file_action(i, (*request.file_actions)[i])) return problem;
  draft.plan->actions = actions.finish();

  if (actions.pty()) draft.plan->flags |= plan::kPty | plan::kSetsid;
  if (request.terminal) {
    draft.plan->rows = request.terminal->rows.value_or(0);
    draft.plan->columns = request.terminal->columns.value_or(0);
    if (request.terminal->controlling_fd) {
      draft.plan->controlling_fd = *request.terminal->controlling_fd;
      draft.plan->flags |= plan::kSetsid;  // only a session leader has one, tty_ioctl(2)
    }
  }
  return std::nullopt;
}

}  // namespace cloister::front
