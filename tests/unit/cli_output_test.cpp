// Captured output through cloister(1): `run`, which copies it, and `logs`, against a
// small service of the test's own.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "cli.hpp"
#include "client_peer.hpp"
#include "output.hpp"
#include "request/text.hpp"

using namespace cloister;
using namespace cloister::command;
using namespace cloister::command::test;
using cloister::test::Json;
using cloister::test::Listening;
using cloister::test::Peer;

namespace {

OutputChunk chunk(uint64_t offset, std::string data) { return {"stdout", offset, data, false}; }

std::string tail_of(uint64_t lines, const std::vector<std::string>& parts) {
  Tail tail(lines);
  uint64_t offset = 0;
  for (const std::string& part : parts) {
    tail.add(chunk(offset, part));
    offset += part.size();
  }
  CHECK(tail.end() == offset);
  std::string text;
  for (const OutputChunk& part : tail.take()) text += part.data;
  return text;
}

Event event(const char* stream, uint64_t offset, std::string data) {
  Event event;
  event.kind = Event::Kind::output;
  event.stream = stream;
  event.offset = offset;
  event.data = std::move(data);
  return event;
}

// stdout and stderr of this process are files while it lives.
class Captured {
 public:
  Captured() {
    for (const int fd : {1, 2}) {
      saved_[fd] = ::fcntl(fd, F_DUPFD_CLOEXEC, 10);
      files_[fd] = UniqueFd(::memfd_create("captured", MFD_CLOEXEC));
      ::dup2(files_[fd].borrow(), fd);
    }
  }
  ~Captured() {
    for (const int fd : {1, 2}) {
      ::dup2(saved_[fd], fd);
      ::close(saved_[fd]);
    }
  }
  std::string text(int fd) const {
    char text[65536];
    const ssize_t size = ::pread(files_[fd].borrow(), text, sizeof text, 0);
    return {text, static_cast<size_t>(size)};
  }

 private:
  int saved_[3];
  UniqueFd files_[3];
};

struct Said {
  int code = 0;
  std::string out, err;
};

// The verb, against that service; its Trouble is an exit with 125, as main() makes it.
Said carry_out(const Listening& service, const char* verb, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--socket", service.path});
  const Line line(verb, std::move(arguments));
  const Captured captured;
  Said said;
  for (const VerbInfo& info : verbs())
    if (std::string_view(info.name) == verb) try {
        said.code = info.carry_out(line.line);
      } catch (const Trouble& trouble) {
        said.code = 125;
        said.err = trouble.text;
      }
  said.out = captured.text(1);
  said.err += captured.text(2);
  return said;
}

// Runs `run` with its stdout into `fd`, beside `meanwhile`.
template <class F>
int run_into(const Listening& service, int fd, F meanwhile) {
  const Line line("run", {"--socket", service.path, "-q", "--max-output", "1M", "--stdin", "null",
                          "--workspace", "none", "x"});
  const UniqueFd saved(::fcntl(1, F_DUPFD_CLOEXEC, 10));
  std::jthread beside(meanwhile);
  ::dup2(fd, 1);
  int code = -1;
  try {
    code = run(line.line);
  } catch (const Trouble&) {
  }
  ::dup2(saved.borrow(), 1);
  return code;
}

Json output(const char* stream, uint64_t offset, std::string_view data, bool end = false) {
  return {{"stream", stream}, {"offset", offset}, {"data", request::to_base64(data)}, {"end", end}};
}

Json output_event(const char* stream, uint64_t offset, std::string_view data) {
  return {{"event", "output"},
          {"id", "j-1"},
          {"stream", stream},
          {"offset", offset},
          {"data", request::to_base64(data)}};
}

// A job that has written "1\n2\n3\n" and "e\n"; "4\n" comes to who follows.
void answer(Peer& peer) {
  if (peer.is("Describe"))
    return peer.reply({{"version", "1"}, {"mode", "system"}, {"features", Json::object()}});
  if (!peer.is("Output") || peer.call.parameters["id"] != "j-1")
    return peer.send(varlink::no_such_job("j-9"));
  const Json& asked = peer.call.parameters;
  const std::string stream = asked.value("stream", "");
  const uint64_t from = asked.value("offset", uint64_t{0});
  const bool follow = asked.value("follow", false);
  if (stream != "stdout") peer.reply(output("stderr", 0, "e\n", true), stream.empty());
  if (stream == "stderr") return;
  const std::string text = "1\n2\n3\n";
  peer.reply(output("stdout", from, std::string_view(text).substr(from)), true);
  if (follow) peer.reply(output("stdout", 6, "4\n"), true);
  peer.reply(output("stdout", follow ? 8 : 6, "", true));
}

}  // namespace

TEST_CASE("a position tells what is new and what is missing") {
  Position position;
  auto step = position.advance(0, "abc");
  CHECK(step.missing == 0);
  CHECK(step.fresh == "abc");
  step = position.advance(1, "bcde");
  CHECK(step.offset == 3);
  CHECK(step.fresh == "de");
  step = position.advance(0, "a");
  CHECK(step.fresh.empty());
  CHECK(position.next() == 5);
  step = position.advance(7, "h");
  CHECK(step.missing == 2);
  CHECK(step.offset == 7);
  CHECK(position.advance(10, "").missing == 2);
  CHECK(position.next() == 10);
  CHECK(not_kept(1, "stdout") == "1 byte of stdout was not kept");
  CHECK(not_kept(2, "stderr") == "2 bytes of stderr were not kept");
}

TEST_CASE("the last lines are those of tail(1), however the output comes in parts") {
  for (const auto& parts : {std::vector<std::string>{"1\n22\n\n333\n"},
                            {"1", "\n", "2", "2", "\n", "\n333\n"},
                            {"1\n2", "2\n\n", "333", "\n"}}) {
    CHECK(tail_of(0, parts).empty());
    CHECK(tail_of(1, parts) == "333\n");
    CHECK(tail_of(2, parts) == "\n333\n");
    CHECK(tail_of(3, parts) == "22\n\n333\n");
    CHECK(tail_of(4, parts) == "1\n22\n\n333\n");
    CHECK(tail_of(UINT64_MAX, parts) == "1\n22\n\n333\n");
  }
  CHECK(tail_of(1, {"1\n", "2"}) == "2");
  CHECK(tail_of(2, {"1\n", "2"}) == "1\n2");
  CHECK(tail_of(1, {"\n", "\n"}) == "\n");
  CHECK(tail_of(1, {}).empty());
}

TEST_CASE("output is copied in parts that do not block, in the order in which it came") {
  const bool open[3] = {true, true, true};
  OutputCopy copy(open, false);
  const Captured captured;
  copy.add(event("stdout", 0, std::string(5000, 'x')));
  copy.add(event("stderr", 3, "e"));
  const size_t waiting = copy.waiting();
  const int first = copy.descriptor();
  copy.write();
  const size_t after = copy.waiting();
  while (copy.waiting() != 0) copy.write();
  const std::string out = captured.text(1), err = captured.text(2);
  const int last = copy.descriptor();
  CHECK(waiting - after == 4096);
  CHECK(first == 1);
  CHECK(last == -1);
  CHECK(out == std::string(5000, 'x'));
  CHECK(err == "cloister: 3 bytes of stderr were not kept\ne");
}

TEST_CASE("nothing is copied to what was closed when the command began") {
  const bool open[3] = {true, false, true};
  OutputCopy copy(open, true);
  copy.add(event("stdout", 0, "x"));
  CHECK(copy.waiting() == 0);
  copy.add(event("stderr", 9, "e"));
  CHECK(copy.waiting() == 1);  // quiet: no line about what is missing
  copy.drop();
  CHECK(copy.waiting() == 0);
  CHECK_THROWS_AS(copy.add(event("stdlog", 0, "x")), Trouble);
}

TEST_CASE("run copies what its job writes, and says what was not kept") {
  const Listening service([](Peer& peer) {
    REQUIRE(peer.is("Run"));
    CHECK(peer.call.parameters["request"]["stdout"]["capture"]["max"] == 1000);
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 7}}, true);
    peer.reply(output_event("stdout", 0, std::string(20'000, 'a') + "\n"), true);
    peer.reply(output_event("stderr", 0, "wrong\n"), true);
    peer.reply(output_event("stdout", 20'004, std::string("\0b\n", 3)), true);
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", cloister::test::verdict("j-1", 3)}});
  });
  const Said said = carry_out(
      service, "run", {"--max-output", "1000", "--stdin", "null", "--workspace", "none", "x"});
  CHECK(said.code == 3);
  CHECK(said.out == std::string(20'000, 'a') + "\n" + std::string("\0b\n", 3));
  CHECK(said.err.starts_with("wrong\ncloister: 3 bytes of stdout were not kept\ncloister: exited"));
}

TEST_CASE("a job whose output nobody reads gets SIGPIPE, and there is a verdict") {
  const Listening service([](Peer& peer) {
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 7}}, true);
    peer.reply(output_event("stdout", 0, "a"), true);
    const auto next = varlink::read_message(peer.socket, *peer.reader);
    REQUIRE(next.has_value());
    const auto call = varlink::parse_call(next->json);
    CHECK(call->parameters["signal"] == SIGPIPE);
    CHECK(call->parameters["scope"] == "group");
    peer.reply(output_event("stdout", 1, "b"), true);
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", cloister::test::verdict("j-1", 9)}});
  });
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[0]);
  CHECK(run_into(service, ends[1], [] {}) == 9);
  ::close(ends[1]);
}

TEST_CASE("output that cannot be written makes the exit code 125") {
  const Listening service([](Peer& peer) {
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 7}}, true);
    peer.reply(output_event("stdout", 0, "a"), true);
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", cloister::test::verdict("j-1", 0)}});
    (void)varlink::read_message(peer.socket, *peer.reader);  // the signal
  });
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  CHECK(run_into(service, full.borrow(), [] {}) == 125);
}

TEST_CASE("a signal is handed on while nobody reads the output, and the end is heard") {
  // Before there are other threads: `run` blocks it in its own alone.
  sigset_t term, before;
  ::sigemptyset(&term);
  ::sigaddset(&term, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &term, &before);
  std::atomic<bool> signaled = false;
  const Listening service([&](Peer& peer) {
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 7}}, true);
    for (uint64_t i = 0; i < 8; i++)
      peer.reply(output_event("stdout", i * 40'000, std::string(40'000, 'a')), true);
    const auto next = varlink::read_message(peer.socket, *peer.reader);
    REQUIRE(next.has_value());
    signaled = varlink::parse_call(next->json)->parameters["signal"] == SIGTERM;
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", cloister::test::verdict("j-1", 4)}});
  });
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t self = ::getpid();
  const auto begin = std::chrono::steady_clock::now();
  const int code = run_into(service, ends[1], [&] {
    ::usleep(200'000);
    ::kill(self, SIGTERM);
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  CHECK(code == 4);
  CHECK(signaled);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("logs writes each stream to its own place") {
  const Listening service(answer);
  const Said both = carry_out(service, "logs", {"j-1"});
  CHECK(both.code == 0);
  CHECK(both.out == "1\n2\n3\n");
  CHECK(both.err == "e\n");
  const Said out = carry_out(service, "logs", {"--stdout", "j-1"});
  CHECK(out.out == "1\n2\n3\n");
  CHECK(out.err.empty());
  const Said err = carry_out(service, "logs", {"--stderr", "j-1"});
  CHECK(err.out.empty());
  CHECK(err.err == "e\n");
  CHECK(carry_out(service, "logs", {"--stderr", "--stdout", "j-1"}).out == both.out);
}

TEST_CASE("logs follows, from the beginning or from the last lines on") {
  const Listening service(answer);
  CHECK(carry_out(service, "logs", {"-f", "j-1"}).out == "1\n2\n3\n4\n");
  const Said both = carry_out(service, "logs", {"-f", "--tail", "1", "j-1"});
  CHECK(both.out == "3\n4\n");
  CHECK(both.err == "e\n");
  CHECK(carry_out(service, "logs", {"-f", "--stdout", "--tail", "2", "j-1"}).out == "2\n3\n4\n");
  CHECK(carry_out(service, "logs", {"-f", "--stdout", "--tail", "0", "j-1"}).out == "4\n");
  const Said none = carry_out(service, "logs", {"--tail", "0", "j-1"});
  CHECK(none.out + none.err == "");
}

TEST_CASE("logs in JSON has an object a line") {
  const Listening service(answer);
  CHECK(carry_out(service, "logs", {"--json", "--tail", "2", "j-1"}).out ==
        "{\"stream\":\"stderr\",\"offset\":0,\"data\":\"ZQo=\"}\n"
        "{\"stream\":\"stdout\",\"offset\":2,\"data\":\"MgozCg==\"}\n");
}

TEST_CASE("logs says what was not kept, and what is wrong") {
  const Listening service([](Peer& peer) {
    if (!peer.is("Output")) return answer(peer);
    peer.reply(output("stdout", 5, "a"), true);
    peer.reply(output("stdout", 7, "", true));
  });
  const Said said = carry_out(service, "logs", {"j-1"});
  CHECK(said.out == "a");
  CHECK(said.err ==
        "cloister: 5 bytes of stdout were not kept\ncloister: 1 byte of stdout was not kept\n");
  const Listening other(answer);
  const Said missing = carry_out(other, "logs", {"j-9"});
  CHECK(missing.code == 125);
  CHECK(says(missing.err, "no such job: j-9"));
  CHECK(says(carry_out(other, "logs", {}).err, "no job given"));
  CHECK(says(carry_out(other, "logs", {"j-1", "j-2"}).err, "one job"));
  CHECK(says(carry_out(other, "logs", {"--tail", "-1", "j-1"}).err, "--tail: -1 is not a number"));
}
