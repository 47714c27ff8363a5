// cloister stop: the stop signal, its grace time, SIGKILL.
#include "exit_code.hpp"
#include "file.hpp"
#include "json.hpp"
#include "request/reader.hpp"
#include "service.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

// As a request says times: "5s", "250ms".
std::optional<std::chrono::milliseconds> timeout_of(const CommandLine& line) {
  if (!line.has(Opt::timeout)) return std::nullopt;
  const request::json object = {{"--timeout", line.value(Opt::timeout)}};
  request::Reader reader(object);
  const auto time = reader.duration("--timeout", request::Reader::Need::required);
  if (const auto problem = reader.finish())
    throw Trouble{"--timeout: " + problem->reason + "; expected " + problem->expected};
  return time;
}

}  // namespace

int stop(const CommandLine& line) {
  if (line.operands.empty()) throw Trouble{"no job given: `cloister ps` lists them"};
  const auto timeout = timeout_of(line);
  Client client = connect_to_jobs(line);
  int code = 0;
  for (const std::string_view id : line.operands) {
    const auto verdict = client.stop(id, timeout);
    if (!verdict) {
      complain(verdict.error().message());
      code = kFailed;
    } else if (line.has(Opt::json)) {
      print(to_json(*verdict) + "\n");
    } else if (!line.has(Opt::quiet)) {
      print(std::string(id) + " " + line_of(*verdict) + "\n");
    }
  }
  return code;
}

}  // namespace cloister::command
