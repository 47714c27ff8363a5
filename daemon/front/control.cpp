// Calls about jobs that are there already: Wait, Signal, Stop, List, Inspect, Output,
// Remove, Describe.
#include <sys/utsname.h>
#include <sys/wait.h>

#include <cstring>

#include "become.hpp"
#include "features.hpp"
#include "reply.hpp"
#include "request/reader.hpp"
#include "request/text.hpp"
#include "session.hpp"
#include "sys/names.hpp"
#include "verdict.hpp"

namespace cloister::front {

using plan::JobPhase;
using plan::TellKind;
using request::Reader;
using varlink::Json;

namespace {

constexpr const char* kScopes[] = {"main", "group", "all"};
constexpr const char* kOptionNames[] = {"WNOHANG",    "WUNTRACED", "WSTOPPED",
                                        "WCONTINUED", "WEXITED",   "WNOWAIT"};
constexpr uint32_t kOptionBits[] = {WNOHANG, WSTOPPED, WSTOPPED, WCONTINUED, WEXITED, WNOWAIT};
constexpr const char* kStates[] = {"preparing", "running", "stopped", "ended"};

// A parameter of a method that is wrong is org.varlink.service.InvalidParameter.
varlink::Reply refuse(const Problem& problem) { return varlink::invalid_parameter(problem.field); }

bool fill_id(Reader& in, plan::Ask& ask, std::string& id, Reader::Need need) {
  const auto text = in.text("id", need, 64);
  if (!text) return false;
  id = *text;
  ask.select = plan::Select::id;
  // What is no id at all names no job either: all zeros never match.
  if (const auto job = varlink::parse_job_name(id)) std::copy(job->begin(), job->end(), ask.job);
  return true;
}

bool fill_tag(Reader& in, plan::Ask& ask) {
  const Json* tag = in.object("tag");
  if (!tag) return false;
  Reader inner(*tag, "tag");
  const auto key = inner.text("key", Reader::Need::required, plan::kMaxName);
  const auto value = inner.text("value", Reader::Need::required, plan::kMaxName);
  if (const auto problem = inner.finish()) {
    in.refuse("tag", problem->reason, problem->expected, problem->got);
    return false;
  }
  key->copy(ask.tag_key, sizeof ask.tag_key - 1);
  value->copy(ask.tag_value, sizeof ask.tag_value - 1);
  ask.select = plan::Select::tag;
  return true;
}

// GCC 12 cannot build braced lists inside a coroutine; so JSON is made here.
Json wait_result(const Answer& answer) {
  Json result = {{"event", nullptr}, {"id", nullptr}, {"signal", nullptr}, {"verdict", nullptr}};
  if (answer.tell.kind != TellKind::event) return result;
  const plan::JobState& state = answer.tell.state;
  result["id"] = varlink::job_name(state.job);
  result["event"] = state.event == JobPhase::ended     ? "ended"
                    : state.event == JobPhase::stopped ? "stopped"
                                                       : "continued";
  if (state.event == JobPhase::stopped) result["signal"] = sys::signal_name(state.stop_signal);
  return result;
}

Json verdict_of(const Answer& answer) {
  const JobPlan job(answer.descriptors.at(0));
  return job ? varlink::to_dom(told_verdict(answer.tell.state, job.view())) : Json();
}

Json inspection(const Answer& answer) {
  const plan::JobState& state = answer.tell.state;
  const JobPlan job(answer.descriptors.at(0));
  if (!job) return {};
  const plan::View view = job.view();
  Json result = {{"job", varlink::to_dom(varlink::make_job_info(state, view))},
                 {"request", nullptr},
                 {"verdict", nullptr}};
  // Null where it was cut away because newer jobs of its owner needed the room.
  // Written by a front, but not by this one: read as strictly as a client's.
  if (auto shown = request::parse_text({view.c_str(view->request_json), view->request_json.length}))
    result["request"] = std::move(*shown);
  if (state.phase == JobPhase::ended)
    result["verdict"] = varlink::to_dom(told_verdict(state, view));
  return result;
}

Json description(const plan::Host& host, const Caller& caller, const Profiles& profiles) {
  utsname kernel{};
  ::uname(&kernel);
  return {{"version", varlink::kVersion},
          {"mode", varlink::mode_name(caller.mode)},
          {"kernel", kernel.release},
          {"cgroup_version", host.cgroup_version},
          {"jobs_running", host.jobs_running},
          {"jobs_kept", host.jobs_kept},
          {"jobs_kept_limit", host.jobs_kept_limit},
          {"jobs_limit", host.jobs_limit},
          {"connections_limit", host.connections_limit},
          {"waits_limit", host.waits_limit},
          {"request_bytes", host.request_bytes},
          {"request_bytes_limit", host.request_bytes_limit},
          {"output_bytes", host.output_bytes},
          {"output_bytes_limit", host.output_bytes_limit},
          {"connection_bytes_limit", kMostMemory},
          {"features", features(host, caller, profiles)}};
}

varlink::Reply success(Json parameters) {
  varlink::Reply reply;
  reply.parameters = std::move(parameters);
  return reply;
}

varlink::Reply output_reply(const OutputReader::Chunk& chunk, bool end, bool continues) {
  varlink::Reply reply = success({{"stream", plan::kStreamNames[chunk.stream]},
                                  {"offset", chunk.offset},
                                  {"data", request::to_base64(chunk.data)},
                                  {"end", end}});
  reply.continues = continues;
  return reply;
}

varlink::Reply no_output() {
  return varlink::invalid_request(
      "stream", "is not captured, or no longer kept because newer jobs needed the room",
      "a stream that the request captures", "");
}

// The last reply about a stream. Its offset shows how much of the end was not kept.
varlink::Reply output_end(const OutputReader& output, uint32_t stream, bool ended, bool continues) {
  return output_reply({stream, output.position(stream), ""}, ended, continues);
}

varlink::Reply success(const char* name, Json value) {
  Json parameters = Json::object();
  parameters[name] = std::move(value);
  return success(std::move(parameters));
}

}  // namespace

Task<std::optional<Answer>> Session::ask(plan::Ask ask, std::string id) {
  if (!monitor_.ask(ask)) leave();
  auto answer = co_await monitor_.answer(ask.sequence);
  if (!answer) leave();
  if (answer->tell.kind != TellKind::refused) co_return answer;
  co_await reply(reply_to(answer->tell.refusal, id));
  co_return std::nullopt;
}

Task<void> Session::on_wait(Pending pending) {
  Reader in(pending.call.parameters);
  plan::Ask ask = monitor_.make(plan::AskKind::wait);
  std::string id;
  int selectors = fill_id(in, ask, id, Reader::Need::optional) + fill_tag(in, ask);
  if (const auto pgid = in.integer("pgid", 1, INT32_MAX)) {
    ask.pgid = static_cast<int32_t>(*pgid);
    ask.select = plan::Select::pgid;
    ++selectors;
  }
  if (const auto all = in.boolean("all"); all && *all) {
    ask.select = plan::Select::all;
    ++selectors;
  }
  if (const auto options = in.words("options", kOptionNames))
    for (size_t option : *options) ask.options |= kOptionBits[option];
  if (!(ask.options & (WEXITED | WSTOPPED | WCONTINUED))) ask.options |= WEXITED;
  if (selectors != 1) in.refuse("id", "is not alone", "one of id, tag, pgid, all", "");
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));

  const auto answer = co_await Session::ask(ask, id);
  if (!answer) co_return;
  Json result = wait_result(*answer);
  if (result["event"] == "ended") {
    result["verdict"] = verdict_of(*answer);
    if (result["verdict"].is_null()) leave();
  }
  co_await reply(success(std::move(result)));
}

bool Session::fill_signal(const Json& parameters, plan::Ask& ask, std::optional<Problem>& problem,
                          std::string& id) {
  Reader in(parameters);
  fill_id(in, ask, id, Reader::Need::required);
  if (const auto signal = in.signal("signal", Reader::Need::required)) ask.signal = *signal;
  if (const auto scope = in.word("scope", kScopes)) ask.scope = static_cast<plan::Scope>(*scope);
  problem = in.finish();
  return !problem;
}

Task<void> Session::on_signal(Pending pending) {
  plan::Ask ask = monitor_.make(plan::AskKind::signal);
  std::optional<Problem> problem;
  std::string id;
  if (!fill_signal(pending.call.parameters, ask, problem, id))
    co_return co_await reply(refuse(*problem));
  const auto answer = co_await Session::ask(ask, id);
  if (answer) co_await reply(varlink::Reply());
}

Task<void> Session::on_stop(Pending pending) {
  Reader in(pending.call.parameters);
  plan::Ask ask = monitor_.make(plan::AskKind::stop);
  std::string id;
  fill_id(in, ask, id, Reader::Need::required);
  const auto timeout = in.duration("timeout");
  ask.timeout_ms = timeout ? static_cast<uint64_t>(timeout->count()) : UINT64_MAX;
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));
  const auto answer = co_await Session::ask(ask, id);
  if (!answer) co_return;
  Json verdict = verdict_of(*answer);
  if (verdict.is_null()) leave();
  co_await reply(success("verdict", std::move(verdict)));
}

Task<void> Session::on_list(Pending pending) {
  Reader in(pending.call.parameters);
  plan::Ask filter = monitor_.make(plan::AskKind::list);
  fill_tag(in, filter);
  const auto state = in.word("state", kStates);
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));

  Json jobs = Json::array();
  uint64_t after = 0;
  for (uint32_t rows = plan::kRowsPerPage; rows == plan::kRowsPerPage;) {
    plan::Ask page = filter;
    page.sequence = monitor_.make(plan::AskKind::list).sequence;
    page.after = after;
    if (!monitor_.ask(page)) leave();
    for (rows = 0;; ++rows) {
      const auto answer = co_await monitor_.answer(page.sequence);
      if (!answer) leave();
      if (answer->tell.kind != TellKind::row) break;
      const plan::JobState& row = answer->tell.state;
      after = row.serial;
      if (state && *state != static_cast<size_t>(row.phase)) continue;
      const JobPlan job(answer->descriptors.at(0));
      if (!job) leave();
      jobs.push_back(varlink::to_dom(varlink::make_job_info(row, job.view())));
    }
  }
  co_await reply(success("jobs", std::move(jobs)));
}

Task<void> Session::on_inspect(Pending pending) {
  Reader in(pending.call.parameters);
  plan::Ask ask = monitor_.make(plan::AskKind::inspect);
  std::string id;
  fill_id(in, ask, id, Reader::Need::required);
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));
  const auto answer = co_await Session::ask(ask, id);
  if (!answer) co_return;
  Json result = inspection(*answer);
  if (result.is_null()) leave();
  co_await reply(success(std::move(result)));
}

Task<void> Session::on_output(Pending pending) {
  Reader in(pending.call.parameters);
  plan::Ask ask = monitor_.make(plan::AskKind::output);
  std::string id;
  fill_id(in, ask, id, Reader::Need::required);
  const auto stream = in.word("stream", plan::kStreamNames);
  const auto offset = in.integer("offset", 0, INT64_MAX);
  const bool follow = in.boolean("follow").value_or(false);
  if (offset && !stream) in.refuse("offset", "is of one stream", "stream", "");
  if (follow && !pending.call.more)
    in.refuse("follow", "needs more replies", "a call with more", "");
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));

  OutputReader::Files files;
  for (uint32_t i = 0; i < plan::kCaptured; ++i) {
    if (stream && *stream != i) continue;
    ask.sequence = monitor_.make(plan::AskKind::output).sequence;
    ask.stream = i;
    auto answer = co_await Session::ask(ask, id);
    if (!answer) co_return;
    if (!answer->descriptors.empty()) files[i] = std::move(answer->descriptors[0]);
  }
  OutputReader output(io_, std::move(files));
  if (!output.reads_any()) co_return co_await reply(no_output());
  if (offset) output.seek(static_cast<uint32_t>(*stream), static_cast<uint64_t>(*offset));
  for (;;) {
    const bool ended = output.ended();  // before it is read to the end
    auto chunk = output.next();
    if (!chunk && output.dropped()) {
      co_return co_await reply(no_output());
    } else if (chunk && pending.call.more) {
      co_await reply(output_reply(*chunk, false, true));
    } else if (chunk) {
      co_return co_await reply(output_reply(*chunk, false, false));
    } else if (follow && !ended) {
      co_await output.changed();
    } else {
      const uint32_t last = output.reads(1) ? 1 : 0;
      if (last > 0 && output.reads(0) && pending.call.more)
        co_await reply(output_end(output, 0, ended, true));
      co_return co_await reply(output_end(output, last, ended, false));
    }
  }
}

Task<void> Session::on_remove(Pending pending) {
  Reader in(pending.call.parameters);
  plan::Ask ask = monitor_.make(plan::AskKind::remove);
  std::string id;
  fill_id(in, ask, id, Reader::Need::required);
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));
  const auto answer = co_await Session::ask(ask, id);
  if (answer) co_await reply(varlink::Reply());
}

Task<void> Session::on_describe(Pending pending) {
  Reader in(pending.call.parameters);
  if (const auto problem = in.finish()) co_return co_await reply(refuse(*problem));
  const auto answer = co_await Session::ask(monitor_.make(plan::AskKind::describe), "");
  if (!answer) co_return;
  co_await reply(success(description(answer->tell.host, caller_, profiles_)));
}

}  // namespace cloister::front
