// cloister policy explain: what a request would be told, and by which rule.
//
// The service is asked (Plan) by a process of the user in question: what it
// decides by is the kernel's word on who asks, and nothing else is.
#include <fcntl.h>
#include <grp.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "exit_code.hpp"
#include "file.hpp"
#include "json.hpp"
#include "request/layers.hpp"
#include "service.hpp"
#include "sys/names.hpp"
#include "table.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

constexpr int kDenied = 1;

[[noreturn]] void fail(const std::string& what) {
  throw Trouble{what + ": " + std::string(sys::errno_text(errno))};
}

// The numbers that id(1) prints of a user. A program that is linked statically,
// as this one is, may not find the modules that nsswitch.conf(5) names.
std::vector<uint32_t> ids_of(const std::string& user, const char* which) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) fail("pipe");
  const UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out.borrow(), STDOUT_FILENO);
  std::string name = "id", option = which, end = "--", of = user;
  char* argv[] = {name.data(), option.data(), end.data(), of.data(), nullptr};
  char* environment[] = {nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/usr/bin/id", &actions, nullptr, argv, environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) errno = error, fail("/usr/bin/id");
  out.reset();
  std::string text;
  char chunk[4096];
  for (ssize_t got; (got = ::read(in.borrow(), chunk, sizeof chunk)) > 0;)
    text.append(chunk, static_cast<size_t>(got));
  int status = -1;
  ::waitpid(pid, &status, 0);
  if (status != 0) throw Trouble{"--user: unknown user: " + user};
  std::vector<uint32_t> ids;
  const char* const stop = text.data() + text.size();
  for (const char* at = text.data(); at != stop;) {
    uint32_t id = 0;
    const auto read = std::from_chars(at, stop, id);
    if (read.ec != std::errc()) throw Trouble{"id(1) printed no ids of " + user};
    ids.push_back(id);
    at = read.ptr + (read.ptr != stop);  // a space, or the newline at the end
  }
  return ids;
}

// Becomes that user by an exec of this command: nothing of root's stays in the
// process, which is the user's from here, to trace and to read.
[[noreturn]] void ask_as(const std::string& user, const CommandLine& line, std::string_view text) {
  const auto uid = ids_of(user, "-u"), gid = ids_of(user, "-g"), groups = ids_of(user, "-G");
  if (uid.size() != 1 || gid.size() != 1) throw Trouble{"id(1) printed no ids of " + user};
  UniqueFd request(::memfd_create("request", MFD_CLOEXEC));
  if (!request || write_all(request.borrow(), text) != 0 ||
      ::lseek(request.borrow(), 0, SEEK_SET) < 0)
    fail("the request cannot be kept in memory");

  std::vector<std::string> words = {"cloister", "policy", "explain", "-"};
  if (line.has(Opt::json)) words.push_back("--json");
  if (line.has(Opt::socket))
    words.insert(words.end(), {"--socket", std::string(line.value(Opt::socket))});
  std::vector<char*> argv, environment;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string socket;
  if (const char* told = ::getenv("CLOISTER_SOCKET")) {
    socket = std::string("CLOISTER_SOCKET=") + told;
    environment.push_back(socket.data());
  }
  environment.push_back(nullptr);

  if (::dup2(request.borrow(), STDIN_FILENO) < 0) fail("dup2");
  const UniqueFd self(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
  if (::setgroups(groups.size(), groups.data()) < 0 || ::setresgid(gid[0], gid[0], gid[0]) < 0 ||
      ::setresuid(uid[0], uid[0], uid[0]) < 0)
    fail("cannot become " + user);
  ::fexecve(self.borrow(), argv.data(), environment.data());
  fail("cannot run this command as " + user);
}

// As `run --request` would send it.
Request request_of(const std::string& text) {
  const auto refuse = [](const Problem& problem) {
    throw Trouble{"the request is refused at " + problem.field + ": " + problem.reason};
  };
  auto document = request::parse_text(text);
  if (!document) refuse(document.error());
  auto request = request::read_layer(*document, request::Kind::request);
  if (!request) refuse(request.error());
  return *std::move(request);
}

// The answer as rows, in the words of Denied and Plan.
Json explained(const Result<DryRun>& dry) {
  Json answer = {{"decision", dry ? "allowed" : "denied"}, {"uid", ::getuid()}};
  if (dry) {
    answer["policy"] = dry->policy;
    return answer;
  }
  const Json denied = parsed(dry.error().parameters);
  for (const char* member : {"policy", "field", "rule", "limit", "requested", "hint"})
    if (const auto value = denied.find(member); value != denied.end()) answer[member] = *value;
  return answer;
}

int explain(const CommandLine& line) {
  if (line.operands.size() != 2)
    throw Trouble{"no request given: policy explain FILE, or - for stdin"};
  const std::string text = read_file(std::string(line.operands[1]));
  if (line.has(Opt::of_user)) {
    const std::string user(line.value(Opt::of_user));
    const auto uid = ids_of(user, "-u");
    if (uid != std::vector<uint32_t>{::getuid()}) {
      if (::geteuid() != 0) throw Trouble{"only root can ask about another user"};
      ask_as(user, line, text);
    }
  }
  const Request request = request_of(text);
  // A private service has no policy but its user's.
  auto client = connect(line, ::getenv("CLOISTER_SOCKET") ? Service::automatic : Service::system);
  if (!client) give_up(client.error());
  const auto dry = client->plan(request);
  if (!dry && !dry.error().is("Denied")) give_up(dry.error());
  const Json answer = explained(dry);
  if (line.has(Opt::json)) {
    print(answer.dump() + "\n");
  } else {
    Table table({});
    for (const auto& [name, value] : answer.items())
      if (!value.is_null()) table.add({name, brief(value)});
    print(table.text());
  }
  return dry ? 0 : kDenied;
}

}  // namespace

int policy(const CommandLine& line) {
  if (!line.operands.empty() && line.operands[0] == "explain") return explain(line);
  throw Trouble{"usage: cloister policy explain [--user NAME] REQUEST"};
}

}  // namespace cloister::command
