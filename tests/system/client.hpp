// Client: a plain, blocking Varlink client for the tests, and what they ask of
// a service over and over: run this, read the probe's report.
//
// A client is a process: the service reads /proc of who connected. So each
// Client has a helper process of its own that connected as `Who`, handed the
// connection over and stays until the Client goes.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "process.hpp"

namespace cloister::system_test {

using Json = nlohmann::json;

struct Reply {
  Json parameters = Json::object();
  std::string error;  // without its interface: "Denied"; empty: none
  bool continues = false;
  std::vector<Fd> fds;
};

// What became of one Run. Keep it, and every Json to be looked into, non-const:
// a member that is missing reads as null then, and a check fails instead of the
// program.
struct Outcome {
  std::string error;  // "InvalidRequest", "Denied", ..., or empty
  Json parameters;    // of the error
  Json verdict;       // null if there is an error
  std::vector<Json> events;
  std::string out;  // standard output, unless the request said where it goes
  std::map<std::string, std::string> captured;  // by stream, as its events told it
  std::vector<Fd> fds;                          // that came back, in order

  // The probe's report on standard output; throws when it is none.
  Json report() const;
  // For messages: what the service answered.
  std::string told() const;
};

// RFC 4648; throws on anything else.
std::string from_base64(const std::string& text);

class Client {
 public:
  // `socket` is connected; `helper` ends when `lifeline` closes.
  Client(Fd socket, Fd lifeline, pid_t helper);
  Client(Client&&) = default;
  ~Client();

  void send(const Json& message, const std::vector<int>& fds = {});
  void send_bytes(const std::string& bytes, const std::vector<int>& fds = {});
  // The next reply; nothing when the service has closed the connection.
  // Throws when neither comes in time.
  std::optional<Reply> receive(int timeout_ms = 30'000);

  // io.cloister.Launcher's, unless the name has a dot.
  void post(const std::string& method, const Json& parameters, const std::vector<int>& fds = {},
            const Json& members = Json::object());
  // Throws when the connection ends instead of an answer.
  Reply call(const std::string& method, const Json& parameters = Json::object(),
             const std::vector<int>& fds = {});

  // Run with `more`, to its end. Standard output goes to a file of the test's,
  // as the descriptor after `fds`, unless the request says where it goes.
  Outcome run(Json request, std::vector<int> fds = {});

  void close() { socket_.reset(); }
  int socket() const { return socket_.get(); }
  pid_t helper() const { return helper_; }

 private:
  Fd socket_, lifeline_;
  pid_t helper_;
};

}  // namespace cloister::system_test
