// cloister logs: what a job wrote to the streams of it that are captured.
#include <unistd.h>

#include <charconv>
#include <map>
#include <optional>

#include "exit_code.hpp"
#include "file.hpp"
#include "job.hpp"
#include "json.hpp"
#include "output.hpp"
#include "request/text.hpp"
#include "service.hpp"
#include "sys/names.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

std::optional<uint64_t> lines_of(const CommandLine& line) {
  if (!line.has(Opt::tail)) return std::nullopt;
  const std::string_view text = line.value(Opt::tail);
  uint64_t lines = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, lines);
  if (read.ec != std::errc() || read.ptr != end)
    throw Trouble{"--tail: " + std::string(text) + " is not a number of lines"};
  return lines;
}

// Empty: both.
std::string stream_of(const CommandLine& line) {
  if (line.has(Opt::stdout_) == line.has(Opt::stderr_)) return {};
  return line.has(Opt::stdout_) ? "stdout" : "stderr";
}

class Printer {
 public:
  explicit Printer(bool as_json) : as_json_(as_json) {}

  void show(const OutputChunk& chunk) {
    const int fd = descriptor_of(chunk.stream);
    const auto [missing, offset, fresh] = positions_[fd].advance(chunk.offset, chunk.data);
    if (missing != 0) complain(not_kept(missing, chunk.stream));
    if (fresh.empty()) return;
    if (as_json_) {
      const Json object = {
          {"stream", chunk.stream}, {"offset", offset}, {"data", request::to_base64(fresh)}};
      print(object.dump() + "\n");
    } else if (const int error = write_all(fd, fresh); error != 0) {
      throw Trouble{"cannot write to " + chunk.stream + ": " + std::string(sys::errno_text(error))};
    }
  }

  Position& position(std::string_view stream) { return positions_[descriptor_of(stream)]; }

 private:
  const bool as_json_;
  Position positions_[3];
};

}  // namespace

int logs(const CommandLine& line) {
  if (line.operands.empty()) throw Trouble{"no job given: `cloister ps --all` lists them"};
  if (line.operands.size() > 1) throw Trouble{"logs shows one job, and several are given"};
  const std::string_view id = line.operands[0];
  const auto lines = lines_of(line);
  const std::string stream = stream_of(line);
  const bool follow = line.has(Opt::follow);
  Printer printer(line.has(Opt::json));
  // The connection would take their place.
  const Surroundings around = own_surroundings();
  if (!around.open[STDOUT_FILENO] || !around.open[STDERR_FILENO])
    throw Trouble{"stdout or stderr is closed"};
  Client client = connect_to_jobs(line);
  const auto read = [&](const OutputQuery& query, const auto& take) {
    if (const auto done = client.output(id, query, take); !done) give_up(done.error());
  };
  const auto show = [&](const OutputChunk& chunk) { printer.show(chunk); };
  if (!lines) {
    read({stream, 0, follow}, show);
    return 0;
  }
  std::map<std::string, Tail> tails;
  read({stream, 0, false}, [&](const OutputChunk& chunk) {
    tails.try_emplace(chunk.stream, *lines).first->second.add(chunk);
  });
  for (auto& [name, tail] : tails) {
    const auto last = tail.take();
    // What comes before the last lines is left out, and not missing.
    printer.position(name).set(last.empty() ? tail.end() : last.front().offset);
    for (const OutputChunk& chunk : last) printer.show(chunk);
  }
  // Of both streams the service sends all again; what was seen is skipped.
  if (follow) read({stream, stream.empty() ? 0 : printer.position(stream).next(), true}, show);
  return 0;
}

}  // namespace cloister::command
