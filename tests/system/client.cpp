#include "client.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace cloister::system_test {
namespace {

constexpr size_t kMostDescriptors = 253;  // SCM_MAX_FD

std::string short_name(const std::string& error) {
  const std::string prefix = "io.cloister.Launcher.";
  return error.starts_with(prefix) ? error.substr(prefix.size()) : error;
}

}  // namespace

Json Outcome::report() const {
  const Json parsed = Json::parse(out, nullptr, false);
  if (!parsed.is_object()) throw std::runtime_error("no report: " + told() + " output: " + out);
  return parsed;
}

std::string Outcome::told() const {
  return error.empty() ? verdict.dump() : error + " " + parameters.dump();
}

Client::Client(Fd socket, Fd lifeline, pid_t helper)
    : socket_(std::move(socket)), lifeline_(std::move(lifeline)), helper_(helper) {}

Client::~Client() {
  if (!lifeline_) return;  // moved from
  socket_.reset();
  lifeline_.reset();
  wait_for(helper_);
}

void Client::send_bytes(const std::string& bytes, const std::vector<int>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
  size_t sent = 0;
  while (sent < bytes.size()) {
    iovec data{const_cast<char*>(bytes.data()) + sent, bytes.size() - sent};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (sent == 0 && !fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
    }
    const ssize_t n = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("sendmsg");
    sent += static_cast<size_t>(n);
  }
}

void Client::send(const Json& message, const std::vector<int>& fds) {
  send_bytes(message.dump() + '\0', fds);
}

// Peeks for the NUL and then reads up to it, never further: what a read that
// crosses a message brings along could belong to either.
std::optional<Reply> Client::receive(int timeout_ms) {
  std::string text;
  Reply reply;
  char buffer[65536];
  for (;;) {
    pollfd ready{socket_.get(), POLLIN, 0};
    const int polled = poll(&ready, 1, timeout_ms);
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) throw std::runtime_error("no reply in time; so far: " + text);
    const ssize_t seen = recv(socket_.get(), buffer, sizeof buffer, MSG_PEEK);
    if (seen < 0 && errno != ECONNRESET) fail("recv");
    if (seen <= 0) {
      if (!text.empty()) throw std::runtime_error("the service closed inside a reply: " + text);
      return std::nullopt;
    }
    const void* nul = std::memchr(buffer, '\0', static_cast<size_t>(seen));
    const size_t wanted = nul ? static_cast<size_t>(static_cast<const char*>(nul) - buffer) + 1
                              : static_cast<size_t>(seen);
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
    iovec data{buffer, wanted};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0) fail("recvmsg");
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      for (size_t at = 0; at + sizeof(int) <= header->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
        reply.fds.emplace_back(fd);
      }
    }
    text.append(buffer, static_cast<size_t>(got));
    if (!text.empty() && text.back() == '\0') break;
  }
  text.pop_back();
  const Json parsed = Json::parse(text, nullptr, false);
  if (!parsed.is_object()) throw std::runtime_error("a reply that is no JSON object: " + text);
  for (const auto& [name, value] : parsed.items()) {
    if (name == "parameters") {
      reply.parameters = value;
    } else if (name == "continues") {
      reply.continues = value.get<bool>();
    } else if (name == "error") {
      reply.error = value.is_null() ? "" : short_name(value.get<std::string>());
    } else {
      throw std::runtime_error("a reply with an unknown member: " + text);
    }
  }
  return reply;
}

void Client::post(const std::string& method, const Json& parameters, const std::vector<int>& fds,
                  const Json& members) {
  Json message = members;
  message["method"] = method.find('.') == method.npos ? "io.cloister.Launcher." + method : method;
  message["parameters"] = parameters;
  send(message, fds);
}

Reply Client::call(const std::string& method, const Json& parameters, const std::vector<int>& fds) {
  post(method, parameters, fds);
  auto reply = receive();
  if (!reply) throw std::runtime_error("the service closed the connection at " + method);
  return std::move(*reply);
}

std::string from_base64(const std::string& text) {
  const std::string kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string::npos && c != '=') throw std::runtime_error("not Base64: " + text);
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

Outcome Client::run(Json request, std::vector<int> fds) {
  Fd output;
  if (!request.contains("stdout")) {
    output = memory_file();
    request["stdout"] = {{"passed_fd", fds.size()}};
    fds.push_back(output.get());
  }
  post("Run", {{"request", request}}, fds, {{"more", true}});
  Outcome outcome;
  for (bool more = true; more;) {
    auto reply = receive();
    if (!reply) throw std::runtime_error("the service closed the connection during Run");
    more = reply->continues;
    for (auto& fd : reply->fds) outcome.fds.push_back(std::move(fd));
    if (!reply->error.empty()) {
      outcome.error = reply->error;
      outcome.parameters = reply->parameters;
      break;
    }
    outcome.events.push_back(reply->parameters);
    const std::string event = reply->parameters.value("event", "");
    if (event == "ended") outcome.verdict = reply->parameters.at("verdict");
    if (event == "output")
      outcome.captured[reply->parameters.at("stream")] += from_base64(reply->parameters.at("data"));
  }
  if (output) outcome.out = content_of(output.get());
  return outcome;
}

}  // namespace cloister::system_test
