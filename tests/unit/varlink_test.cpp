// Framing, descriptors, the envelope and the interface descriptions.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "varlink/envelope.hpp"
#include "varlink/frame.hpp"
#include "varlink/service.hpp"
#include "varlink/transfer.hpp"
#include "varlink_grammar.hpp"

using namespace cloister;
using namespace cloister::varlink;
using namespace std::string_literals;

namespace {

struct Pair {
  UniqueFd ours, theirs;
  explicit Pair(int flags = 0) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends) == 0);
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
  }
};

void send_raw(int socket, std::string_view bytes, const std::vector<int>& descriptors = {}) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
  }
  REQUIRE(::sendmsg(socket, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

// A descriptor that can be told from others: an empty file of its own inode.
UniqueFd marker() {
  UniqueFd fd(::memfd_create("marker", MFD_CLOEXEC));
  REQUIRE(fd);
  return fd;
}

ino_t inode(int fd) {
  struct stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  return status.st_ino;
}

Message must_read(int socket, FrameReader& reader) {
  auto message = read_message(socket, reader);
  REQUIRE_MESSAGE(message.has_value(), message.error().message());
  return std::move(*message);
}

size_t open_descriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 2048; fd++) count += ::fcntl(fd, F_GETFD) >= 0;
  return count;
}

// Feeds bytes to the framing core without a socket, `step` at a time.
std::vector<std::string> split(std::string_view stream, size_t step) {
  FrameReader reader;
  std::vector<std::string> messages;
  size_t at = 0, arrived = 0;
  while (at < stream.size()) {
    arrived = std::max(arrived, std::min(at + step, stream.size()));
    const auto room = reader.room();
    const size_t count = std::min(room.size(), arrived - at);
    std::memcpy(room.data(), stream.data() + at, count);
    const auto wanted = reader.peeked(count);
    REQUIRE(wanted.has_value());
    REQUIRE(*wanted <= count);
    const auto complete = reader.consumed(*wanted, {});
    REQUIRE(complete.has_value());
    at += *wanted;
    if (*complete) messages.push_back(reader.take().json);
  }
  return messages;
}

}  // namespace

TEST_CASE("a stream is split at its NULs whatever the size of the pieces") {
  const std::string stream = "{\"a\":1}\0{}\0\0{\"long\":\"0123456789\"}\0"s;
  const std::vector<std::string> expected = {"{\"a\":1}", "{}", "", "{\"long\":\"0123456789\"}"};
  for (size_t step = 1; step <= stream.size(); step++) CHECK(split(stream, step) == expected);
}

TEST_CASE("a message split in two writes at each byte arrives whole") {
  const std::string stream = "{\"method\":\"a.B\"}\0{\"x\":2}\0"s;
  for (size_t cut = 1; cut < stream.size(); cut++) {
    Pair pair(SOCK_NONBLOCK);
    FrameReader reader;
    std::vector<std::string> messages;
    const auto drain = [&] {
      for (;;) {
        const auto progress = receive(pair.ours.borrow(), reader);
        REQUIRE(progress.has_value());
        if (*progress == Progress::blocked) return;
        if (*progress == Progress::complete) messages.push_back(reader.take().json);
      }
    };
    send_raw(pair.theirs.borrow(), std::string_view(stream).substr(0, cut));
    drain();
    send_raw(pair.theirs.borrow(), std::string_view(stream).substr(cut));
    drain();
    CHECK(messages == std::vector<std::string>{"{\"method\":\"a.B\"}", "{\"x\":2}"});
  }
}

TEST_CASE("descriptors of a message are not given to the one before it") {
  Pair pair;
  const UniqueFd mark = marker();
  send_raw(pair.theirs.borrow(), "{\"a\":1}\0"s);
  send_raw(pair.theirs.borrow(), "{\"b\":2}\0"s, {mark.borrow()});
  send_raw(pair.theirs.borrow(), "{\"c\":3}\0"s);
  FrameReader reader;
  const auto a = must_read(pair.ours.borrow(), reader);
  const auto b = must_read(pair.ours.borrow(), reader);
  const auto c = must_read(pair.ours.borrow(), reader);
  CHECK(a.json == "{\"a\":1}");
  CHECK(a.descriptors.empty());
  CHECK(b.json == "{\"b\":2}");
  REQUIRE(b.descriptors.size() == 1);
  CHECK(inode(b.descriptors[0].borrow()) == inode(mark.borrow()));
  CHECK((::fcntl(b.descriptors[0].borrow(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(c.json == "{\"c\":3}");
  CHECK(c.descriptors.empty());
}

TEST_CASE("the end of one message and the start of the next, in one write with descriptors") {
  // The kernel queues both messages as one buffer: its descriptors came with
  // the first byte of that write, which is the first byte of message A.
  Pair pair;
  const UniqueFd mark = marker();
  send_raw(pair.theirs.borrow(), "{\"a\":1}\0{\"b\":2}\0"s, {mark.borrow()});
  FrameReader reader;
  CHECK(must_read(pair.ours.borrow(), reader).descriptors.size() == 1);
  CHECK(must_read(pair.ours.borrow(), reader).descriptors.empty());
}

TEST_CASE("each of many queued messages keeps its own descriptors") {
  Pair pair;
  std::vector<UniqueFd> marks;
  constexpr int kMessages = 40;
  for (int i = 0; i < kMessages; i++) {
    marks.push_back(marker());
    std::vector<int> sent(static_cast<size_t>(i % 3), marks.back().borrow());
    send_raw(pair.theirs.borrow(), "{\"n\":" + std::to_string(i) + "}" + std::string(1, '\0'),
             sent);
  }
  FrameReader reader;
  for (int i = 0; i < kMessages; i++) {
    const auto message = must_read(pair.ours.borrow(), reader);
    CHECK(message.json == "{\"n\":" + std::to_string(i) + "}");
    CHECK(message.descriptors.size() == static_cast<size_t>(i % 3));
    for (const auto& fd : message.descriptors)
      CHECK(inode(fd.borrow()) == inode(marks[static_cast<size_t>(i)].borrow()));
  }
}

TEST_CASE("descriptors after the first byte of a message are refused and closed") {
  Pair pair(SOCK_NONBLOCK);
  const size_t before = open_descriptors();
  {
    const UniqueFd mark = marker();
    FrameReader reader;
    send_raw(pair.theirs.borrow(), "{\"a\":");
    REQUIRE(receive(pair.ours.borrow(), reader).value() == Progress::partial);
    send_raw(pair.theirs.borrow(), "1}\0"s, {mark.borrow()});
    CHECK(receive(pair.ours.borrow(), reader).error() == FrameError::late_descriptors);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("253 descriptors arrive, in order, and 254 cannot be written") {
  Pair pair;
  const size_t before = open_descriptors();
  {
    const UniqueFd first = marker(), other = marker();
    std::vector<int> sent(kMaxDescriptors, other.borrow());
    sent.front() = first.borrow();
    REQUIRE(write_message(pair.theirs.borrow(), "{}", sent).has_value());
    FrameReader reader;
    const auto message = must_read(pair.ours.borrow(), reader);
    REQUIRE(message.descriptors.size() == kMaxDescriptors);
    CHECK(inode(message.descriptors.front().borrow()) == inode(first.borrow()));
    CHECK(inode(message.descriptors.back().borrow()) == inode(other.borrow()));
    sent.push_back(other.borrow());
    CHECK(write_message(pair.theirs.borrow(), "{}", sent).error() ==
          FrameError::too_many_descriptors);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE(
    "descriptors that do not fit under RLIMIT_NOFILE are an error, and those that did are closed") {
  Pair pair;
  const UniqueFd mark = marker();
  const std::vector<int> sent(20, mark.borrow());
  send_raw(pair.theirs.borrow(), "{}\0"s, sent);
  const size_t before = open_descriptors();
  rlimit saved{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &saved) == 0);
  const rlimit low{static_cast<rlim_t>(mark.borrow() + 6), saved.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  FrameReader reader;
  const auto message = read_message(pair.ours.borrow(), reader);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &saved) == 0);
  CHECK(message.error() == FrameError::lost_descriptors);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a message of 4 MiB passes and one byte more is refused") {
  for (const size_t size : {kMaxMessageBytes, kMaxMessageBytes + 1}) {
    Pair pair;
    std::string json(size, 'x');
    std::thread writer([&] {
      // The reader hangs up on the longer one: EPIPE then is as good as success.
      (void)write_message(pair.theirs.borrow(), json);
    });
    FrameReader reader;
    const auto message = read_message(pair.ours.borrow(), reader);
    pair.ours.reset();
    writer.join();
    if (size == kMaxMessageBytes) {
      REQUIRE(message.has_value());
      CHECK(message->json == json);
    } else {
      CHECK(message.error() == FrameError::too_large);
    }
  }
}

TEST_CASE("a megabyte that dribbles in byte by byte is scanned once") {
  // Fails by the clock if each byte were to cost a look at all before it:
  // 10^6 bytes would be 5 * 10^11 looks.
  const std::string stream = std::string(1'000'000, 'y') + '\0';
  const auto messages = split(stream, 1);
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].size() == 1'000'000);
}

TEST_CASE("the end between messages is told from the end inside one") {
  {
    Pair pair;
    FrameReader reader;
    send_raw(pair.theirs.borrow(), "{}\0"s);
    pair.theirs.reset();
    CHECK(must_read(pair.ours.borrow(), reader).json == "{}");
    CHECK(read_message(pair.ours.borrow(), reader).error() == FrameError::closed);
  }
  Pair pair;
  FrameReader reader;
  send_raw(pair.theirs.borrow(), "{\"a\"");
  pair.theirs.reset();
  CHECK(read_message(pair.ours.borrow(), reader).error() == FrameError::truncated);
}

TEST_CASE("a writer that is cut short by a full socket goes on where it was") {
  Pair pair(SOCK_NONBLOCK);
  const UniqueFd mark = marker();
  const std::string json(3u << 20, 'z');
  FrameWriter writer(json, std::vector<int>{mark.borrow()});
  FrameReader reader;
  bool written = false, blocked = false;
  Message message;
  for (;;) {
    if (!written) {
      const auto progress = send(pair.theirs.borrow(), writer);
      REQUIRE(progress.has_value());
      written = *progress == Progress::complete;
      blocked |= *progress == Progress::blocked;
    }
    const auto progress = receive(pair.ours.borrow(), reader);
    REQUIRE(progress.has_value());
    if (*progress != Progress::complete) continue;
    message = reader.take();
    break;
  }
  CHECK(blocked);
  CHECK(message.json == json);
  CHECK(message.descriptors.size() == 1);
}

TEST_CASE("a peer that is gone is an error and no SIGPIPE") {
  Pair pair;
  pair.ours.reset();
  CHECK(write_message(pair.theirs.borrow(), "{}").error() == boost::system::errc::broken_pipe);
}

TEST_CASE("calls are read strictly") {
  const auto call = parse_call(
      R"({"method":"io.cloister.Launcher.Run","parameters":{"request":{}},"more":true})");
  REQUIRE(call.has_value());
  CHECK(call->method == "io.cloister.Launcher.Run");
  CHECK(call->more);
  CHECK_FALSE(call->oneway);
  CHECK(call->parameters.contains("request"));
  CHECK(parse_call(R"({"method":"a.B","parameters":null,"more":null})")->parameters.empty());

  for (const char* refused :
       {"", "[]", "null", "{}", R"({"method":1})", R"({"method":"a.B","method":"a.C"})",
        R"({"method":"a.B","\u006dethod":"a.C"})", R"({"method":"a.B","more":1})",
        R"({"method":"a.B","parameters":[]})", R"({"method":"a.B","extra":1})",
        R"({"method":"a.B"} )"
        "x",
        R"({"method":"a.B"}{})", R"({"method":""})",
        R"({"method":"a.B","more":true,"oneway":true})", R"({"method":"a\u0000.B"})",
        "{\"method\":\"a.B\xff\"}"})
    CHECK_MESSAGE(!parse_call(refused).has_value(), std::string(refused));
  CHECK(parse_call(R"({"method":"a.B","extra":1})").error().field == "extra");
}

TEST_CASE("replies are read strictly") {
  const auto reply = parse_reply(R"({"parameters":{"id":"j"},"continues":true})");
  REQUIRE(reply.has_value());
  CHECK(reply->continues);
  CHECK(parse_reply("{}").has_value());
  CHECK(parse_reply(R"({"error":"a.B","parameters":{}})")->error == "a.B");
  for (const char* refused : {"[]", R"({"continues":1})", R"({"error":{}})", R"({"x":1})",
                              R"({"error":"a.B","continues":true})"})
    CHECK_MESSAGE(!parse_reply(refused).has_value(), std::string(refused));
}

TEST_CASE("what is written is read back") {
  Call call;
  call.method = "io.cloister.Launcher.Signal";
  call.parameters = {{"id", "j-1"}, {"signal", 15}};
  call.oneway = true;
  const auto back = parse_call(to_text(call));
  REQUIRE(back.has_value());
  CHECK(back->method == call.method);
  CHECK(back->parameters == call.parameters);
  CHECK(back->oneway);
  Reply reply = busy(250, 3, {}, 4);
  const auto reply_back = parse_reply(to_text(reply));
  REQUIRE(reply_back.has_value());
  CHECK(reply_back->error == "io.cloister.Launcher.Busy");
  CHECK(reply_back->parameters == reply.parameters);
  CHECK(reply_back->parameters["queued"].is_null());
}

TEST_CASE("a reply with bytes outside UTF-8 still is JSON") {
  CHECK(parse_reply(to_text(no_such_job("j-\xff\xfe"))).has_value());
}

TEST_CASE("org.varlink.service answers, and says what is not there") {
  const auto ask = [](const char* method, Json parameters = Json::object()) {
    Call call;
    call.method = method;
    call.parameters = std::move(parameters);
    return answer(call);
  };
  const auto info = ask("org.varlink.service.GetInfo");
  CHECK(info.error.empty());
  CHECK(info.parameters["interfaces"] == Json({"io.cloister.Launcher", "org.varlink.service"}));
  const auto description =
      ask("org.varlink.service.GetInterfaceDescription", {{"interface", "io.cloister.Launcher"}});
  CHECK(description.parameters["description"] == launcher_description());
  CHECK(ask("org.varlink.service.GetInterfaceDescription", {{"interface", "a.b"}}).error ==
        "org.varlink.service.InterfaceNotFound");
  CHECK(ask("org.varlink.service.GetInterfaceDescription").error ==
        "org.varlink.service.InvalidParameter");
  CHECK(ask("org.varlink.service.GetInfo", {{"x", 1}}).parameters["parameter"] == "x");
  CHECK(ask("org.varlink.service.Nothing").error == "org.varlink.service.MethodNotFound");
  CHECK(ask("io.cloister.Launcher.Nothing").error == "org.varlink.service.MethodNotFound");
  CHECK(ask("a.b.C").error == "org.varlink.service.InterfaceNotFound");
  CHECK(ask("nodots").error == "org.varlink.service.InterfaceNotFound");
}

TEST_CASE("both interface descriptions keep to Varlink's grammar") {
  for (const auto text : {launcher_description(), kServiceDescription}) {
    std::string why;
    const auto interface = grammar::parse(text, why);
    REQUIRE_MESSAGE(interface.has_value(), why);
    for (const auto& name : interface->referenced)
      CHECK_MESSAGE(interface->types.contains(name), name);
    for (const auto& name : interface->types)
      CHECK_MESSAGE(interface->referenced.contains(name), name);
  }
}

TEST_CASE("the description has the methods that the service knows, and no others") {
  std::string why;
  const auto interface = grammar::parse(launcher_description(), why);
  REQUIRE(interface.has_value());
  CHECK(interface->name == kLauncher);
  std::set<std::string> known;
#define X(name, id) known.insert(#name);
  CLOISTER_METHODS(X)
#undef X
  CHECK(interface->methods == known);
  for (const auto& method : known)
    CHECK_MESSAGE(method_of(std::string(kLauncher) + "." + method).has_value(), method);
  for (const char* error : {"InvalidRequest", "Denied", "LaunchFailed", "Busy", "Misconfigured",
                            "NoSuchJob", "Unsupported"})
    CHECK(interface->errors.contains(error));
  CHECK_FALSE(method_of("org.varlink.service.Run").has_value());
}

TEST_CASE("the grammar check refuses what Varlink refuses") {
  std::string why;
  for (const char* refused :
       {"interface a.b\nmethod run() -> ()", "interface ab\nmethod Run() -> ()",
        "interface a.b\nmethod Run() -> (x_: int)", "interface a.b\nmethod Run() -> (x: ??int)",
        "interface a.b\nmethod Run(x: (a, b: int)) -> ()", "interface a.b\ntype T (a: int,)",
        "interface a.b\nmethod Run() (x: int)", "method Run() -> ()", "interface a.b"})
    CHECK_MESSAGE(!grammar::parse(refused, why).has_value(), std::string(refused));
}
