// Calls that launch: Run, Start, Plan.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "dry_run.hpp"
#include "reply.hpp"
#include "request/reader.hpp"
#include "request/text.hpp"
#include "seal.hpp"
#include "session.hpp"
#include "sys/names.hpp"
#include "verdict.hpp"

namespace cloister::front {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using plan::JobPhase;
using plan::TellKind;
using varlink::Json;

namespace {

constexpr size_t kBatch = 250;  // below SCM_MAX_FD, unix(7)

// What init and the payload's process send before `started`: the pidfd and the
// master side of the terminal.
struct Offered {
  sys::UniqueFd pidfd, terminal;
};

Offered receive_offered(int channel) {
  Offered offered;
  for (;;) {
    char kind = 0;
    iovec bytes{&kind, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (::recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return offered;
    const cmsghdr* part = CMSG_FIRSTHDR(&message);
    if (!part || part->cmsg_type != SCM_RIGHTS) continue;
    int fd;
    std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
    (kind == 'P' ? offered.terminal : offered.pidfd).reset(fd);
  }
}

// GCC 12 cannot build braced lists inside a coroutine; so replies are made here.
varlink::Reply event_reply(Json event, bool continues) {
  varlink::Reply reply;
  reply.parameters = std::move(event);
  reply.continues = continues;
  return reply;
}

Json event_json(const char* event, const std::string& id) {
  return {
      {"event", event},           {"id", id},           {"pid", nullptr},    {"signal", nullptr},
      {"pty_passed_fd", nullptr}, {"stream", nullptr},  {"offset", nullptr}, {"data", nullptr},
      {"verdict", nullptr},       {"warnings", nullptr}};
}

Json output_json(const OutputReader::Chunk& chunk, const std::string& id) {
  Json event = event_json("output", id);
  event["stream"] = plan::kStreamNames[chunk.stream];
  event["offset"] = chunk.offset;
  event["data"] = request::to_base64(chunk.data);
  return event;
}

Json start_json(const std::string& id) {
  return {{"id", id},
          {"pid", nullptr},
          {"pidfd_passed_fd", nullptr},
          {"pty_passed_fd", nullptr},
          {"warnings", nullptr}};
}

// What the request or a profile other than `default` promises and this job goes
// without, in a line for a person.
std::vector<std::string> warnings_of(const request::Effective& effective,
                                     const Resolved& resolved) {
  std::vector<std::string> warnings = resolved.warnings;
  constexpr std::string_view kDefault = "profile default,";
  std::string fields;
  for (const auto& [path, origin] : effective.degraded_from)
    if (!origin.starts_with(kDefault)) {
      fields += (fields.empty() ? "" : ", ") + path;
      if (path == "identity") fields += " (its ids are the caller's)";
    }
  if (!fields.empty())
    warnings.push_back("the job runs without " + fields +
                       ": not available here, and best_effort allows that (see `cloister info`)");
  return warnings;
}

// Fills in what came with the start of a job, and names the descriptors that
// the reply carries.
std::vector<int> started_json(Json& reply, const plan::JobState& state, const Offered& offered) {
  std::vector<int> borrowed;
  if (state.pid) reply["pid"] = state.pid;
  if (offered.pidfd) {
    reply["pidfd_passed_fd"] = borrowed.size();
    borrowed.push_back(offered.pidfd.borrow());
  }
  if (offered.terminal) {
    reply["pty_passed_fd"] = borrowed.size();
    borrowed.push_back(offered.terminal.borrow());
  }
  return borrowed;
}

}  // namespace

Task<bool> Session::pass_descriptors(int channel, std::vector<sys::UniqueFd> descriptors) {
  if (descriptors.empty()) co_return true;
  asio::posix::stream_descriptor ready(io_, ::fcntl(channel, F_DUPFD_CLOEXEC, 3));
  for (size_t at = 0; at < descriptors.size();) {
    int fds[kBatch];
    const size_t count = std::min(kBatch, descriptors.size() - at);
    for (size_t i = 0; i < count; ++i) fds[i] = descriptors[at + i].borrow();
    char byte = 'D';
    iovec bytes{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)];
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds, count * sizeof(int));
    if (::sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      at += count;
    } else if (errno == EAGAIN) {
      co_await ready.async_wait(asio::posix::stream_descriptor::wait_write, asio::use_awaitable);
    } else if (errno != EINTR) {
      co_return false;  // init has ended: its record says why
    }
  }
  co_return true;
}

Task<std::optional<Session::Launched>> Session::launch(Pending& pending, plan::Method method) {
  const auto start = std::chrono::steady_clock::now();
  request::Reader parameters(pending.call.parameters);
  const Json* document = parameters.object("request", request::Reader::Need::required);
  if (auto problem = parameters.finish()) {
    co_await reply(varlink::invalid_parameter(problem->field));
    co_return std::nullopt;
  }
  auto wanted = request::read_layer(*document, request::Kind::request);
  const auto fail = [&](const Problem& problem) { return reply(reply_to(problem)); };
  if (!wanted) {
    co_await fail(wanted.error());
    co_return std::nullopt;
  }
  // Without a word about it: Run's job goes with its connection, Start's stays.
  if (!wanted->lifetime.on_disconnect && method == plan::Method::start)
    wanted->lifetime.on_disconnect = OnDisconnect::keep;
  auto effective = complete(*wanted, profiles_, caller_);
  if (!effective) {
    co_await fail(effective.error());
    co_return std::nullopt;
  }
  const auto parsed = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now() - start)
                          .count() +
                      pending.parse_us;
  Asked asked;
  asked.method = method;
  if (wanted->idempotency_key) asked.request_digest = digest_of(*wanted);
  asked.parse_us = static_cast<uint64_t>(parsed);
  auto resolved = resolve(*effective, std::move(pending.descriptors), caller_, asked);
  if (!resolved) {
    co_await fail(resolved.error());
    co_return std::nullopt;
  }

  if (!seal(*resolved, plan_.borrow())) leave();
  plan::Ask ask = monitor_.make(plan::AskKind::submit);
  ask.plan_bytes = static_cast<uint32_t>(resolved->plan_block.size());
  // Who hears only the end is not woken for the rest.
  ask.options = WEXITED;
  if (pending.call.more) ask.options |= WSTOPPED | WCONTINUED;
  if (!monitor_.ask(ask)) leave();
  auto answer = co_await monitor_.answer(ask.sequence);
  if (!answer || answer->descriptors.empty()) leave();
  plan_ = std::move(answer->descriptors[0]);
  if (answer->tell.kind == TellKind::refused) {
    co_await reply(reply_to(answer->tell.refusal, ""));
    co_return std::nullopt;
  }

  Launched launched;
  launched.sequence = ask.sequence;
  if (method == plan::Method::plan_only) {
    co_await reply(event_reply(planned_json(*effective, *resolved, answer->tell.refusal), false));
    co_return launched;
  }
  launched.id = varlink::job_name(answer->tell.state.job);
  launched.warnings = warnings_of(*effective, *resolved);
  size_t next = 1;
  for (uint32_t i = 0; i < plan::kCaptured; ++i)
    if (answer->tell.state.output[i].captured && next < answer->descriptors.size())
      launched.outputs[i] = std::move(answer->descriptors[next++]);
  if (next < answer->descriptors.size()) {
    launched.channel = std::move(answer->descriptors[next]);
    co_await pass_descriptors(launched.channel.borrow(), std::move(resolved->descriptors));
  }
  co_return launched;
}

// The end comes after all output: the relay has ended by then.
Task<Answer> Session::next_answer(const Launched& launched, bool started, OutputReader& output) {
  std::optional<Answer> answer;
  for (;;) {
    if (!answer && !monitor_.poll_answer(launched.sequence, answer)) leave();
    const bool ends = answer && answer->tell.kind == TellKind::event &&
                      answer->tell.state.event == JobPhase::ended;
    std::optional<OutputReader::Chunk> chunk;
    if (ends || (started && !answer)) chunk = output.next();
    if (chunk) {
      co_await reply(event_reply(output_json(*chunk, launched.id), true));
    } else if (answer) {
      co_return *std::move(answer);
    } else if (started && output.reads_any()) {
      co_await (monitor_.readable() || output.changed());
    } else {
      co_await monitor_.readable();
    }
  }
}

Task<void> Session::on_run(Pending pending) {
  const bool stream = pending.call.more;
  auto launched = co_await launch(pending, plan::Method::run);
  if (!launched) co_return;
  const std::string& id = launched->id;
  if (stream) {
    Json accepted = event_json("accepted", id);
    accepted["warnings"] = std::move(launched->warnings);
    co_await reply(event_reply(std::move(accepted), true));
  }
  OutputReader output(io_, std::move(launched->outputs));
  bool started = false;
  for (;;) {
    const Answer answer = co_await next_answer(*launched, started, output);
    if (answer.tell.kind == TellKind::refused)
      co_return co_await reply(reply_to(answer.tell.refusal, id));
    const plan::JobState& state = answer.tell.state;
    if (state.event == JobPhase::ended) {
      const JobPlan job(answer.descriptors.at(0));
      if (!job) leave();
      Json ended = event_json("ended", id);
      ended["verdict"] = varlink::to_dom(told_verdict(state, job.view()));
      co_await reply(event_reply(std::move(ended), false));
      // The client has its verdict, and its output if there is any. One with a key may be
      // asked for again.
      const bool has_output = stream || (!state.output[0].captured && !state.output[1].captured);
      if (job.view()->idempotency_key.length == 0 && has_output) {
        plan::Ask forget = monitor_.make(plan::AskKind::remove);
        std::memcpy(forget.job, state.job, sizeof forget.job);
        if (!monitor_.ask(forget)) leave();
      }
      co_return;
    }
    const bool first = !std::exchange(started, true);
    Json event = event_json(state.event == JobPhase::stopped ? "stopped"
                            : first                          ? "started"
                                                             : "continued",
                            id);
    Offered offered;
    if (first && launched->channel) offered = receive_offered(launched->channel.borrow());
    std::vector<int> borrowed = started_json(event, state, offered);
    if (state.event == JobPhase::stopped) event["signal"] = sys::signal_name(state.stop_signal);
    co_await reply(event_reply(std::move(event), true), std::move(borrowed));
  }
}

Task<void> Session::on_start(Pending pending) {
  // Hears of the start, too.
  pending.call.more = true;
  auto launched = co_await launch(pending, plan::Method::start);
  if (!launched) co_return;
  for (;;) {
    auto answer = co_await monitor_.answer(launched->sequence);
    if (!answer) leave();
    if (answer->tell.kind == TellKind::refused)
      co_return co_await reply(reply_to(answer->tell.refusal, launched->id));
    const plan::JobState& state = answer->tell.state;
    if (state.event == JobPhase::ended && state.record.ending != plan::Ending::ended &&
        !state.lost) {
      const JobPlan job(answer->descriptors.at(0));
      if (!job) leave();
      const plan::View view = job.view();
      co_await reply(varlink::launch_failed(varlink::make_failure(state.record.failure, &view)));
      plan::Ask forget = monitor_.make(plan::AskKind::remove);
      std::memcpy(forget.job, state.job, sizeof forget.job);
      if (!monitor_.ask(forget)) leave();
      co_return;
    }
    Offered offered;
    if (launched->channel) offered = receive_offered(launched->channel.borrow());
    Json started = start_json(launched->id);
    started["warnings"] = std::move(launched->warnings);
    std::vector<int> borrowed = started_json(started, state, offered);
    co_return co_await reply(event_reply(std::move(started), false), std::move(borrowed));
  }
}

Task<void> Session::on_plan(Pending pending) { co_await launch(pending, plan::Method::plan_only); }

}  // namespace cloister::front
