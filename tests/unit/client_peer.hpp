// A small service of the test's own, for the clients to speak to.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "cloister/request.hpp"
#include "cloister/unique_fd.hpp"
#include "outcome.hpp"
#include "varlink/envelope.hpp"
#include "varlink/service.hpp"
#include "varlink/transfer.hpp"

namespace cloister::test {

using varlink::Json;

inline const std::string kPrefix = "io.cloister.Launcher.";

inline Json verdict(const char* id, int code) {
  return {{"id", id},           {"ok", code == 0},    {"ending", "exited"},
          {"cause", "payload"}, {"fault", "payload"}, {"exit_code", code}};
}

// What the service sees of one call, and answers it with.
struct Peer {
  int socket;
  varlink::Call call;
  std::vector<UniqueFd> descriptors;
  varlink::FrameReader* reader;

  void reply(Json parameters, bool continues = false, std::span<const int> fds = {}) const {
    varlink::Reply reply;
    reply.parameters = std::move(parameters);
    reply.continues = continues;
    send(reply, fds);
  }
  // A peer that has hung up is what some cases are about.
  void send(const varlink::Reply& reply, std::span<const int> fds = {}) const {
    (void)varlink::write_message(socket, varlink::to_text(reply), fds);
  }
  bool is(const char* method) const { return call.method == kPrefix + method; }
};

using Behaviour = std::function<void(Peer&)>;

inline void serve(UniqueFd socket, const Behaviour& behaviour) {
  varlink::FrameReader reader;
  for (;;) {
    auto message = varlink::read_message(socket.borrow(), reader);
    if (!message) return;
    auto call = varlink::parse_call(message->json);
    if (!call) return;
    Peer peer{socket.borrow(), std::move(*call), std::move(message->descriptors), &reader};
    behaviour(peer);
  }
}

// Over a socketpair: one connection.
class Single {
 public:
  explicit Single(Behaviour behaviour) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    client = UniqueFd(ends[0]);
    thread_ = std::jthread([end = ends[1], behaviour] { serve(UniqueFd(end), behaviour); });
  }
  UniqueFd client;

 private:
  std::jthread thread_;  // ends when the client hangs up
};

// On a socket of the file system: as many connections as are opened.
class Listening {
 public:
  explicit Listening(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    char name[] = "/tmp/client_test_XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory_ = name;
    path = directory_ + "/socket";
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    REQUIRE(::bind(listener_.borrow(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.borrow(), 64) == 0);
    acceptor_ = std::jthread([this] {
      for (;;) {
        UniqueFd accepted(::accept4(listener_.borrow(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!accepted) return;
        connections++;
        threads_.emplace_back([this, fd = accepted.take()] { serve(UniqueFd(fd), behaviour_); });
      }
    });
  }
  ~Listening() {
    ::shutdown(listener_.borrow(), SHUT_RDWR);
    acceptor_.join();
    threads_.clear();
    ::unlink(path.c_str());
    ::rmdir(directory_.c_str());
  }
  std::string path;
  std::atomic<int> connections = 0;

 private:
  Behaviour behaviour_;
  std::string directory_;
  UniqueFd listener_;
  std::list<std::jthread> threads_;
  std::jthread acceptor_;
};

inline Request job(std::vector<std::string> argv = {"true"}) {
  Request request;
  request.argv = std::move(argv);
  return request;
}

// Answers Run with its events, or the one verdict; the exit code is argv[1].
inline void run_jobs(Peer& peer) {
  REQUIRE(peer.is("Run"));
  const auto& argv = peer.call.parameters["request"]["argv"];
  const int code = argv.size() > 1 ? std::atoi(argv[1].get_ref<const std::string&>().c_str()) : 0;
  if (peer.call.more) {
    peer.reply({{"event", "accepted"}, {"id", "j-1"}}, true);
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 77}}, true);
  }
  peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", verdict("j-1", code)}});
}

}  // namespace cloister::test
