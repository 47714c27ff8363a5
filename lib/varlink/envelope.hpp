// The Varlink envelope: calls and replies as values. Read strictly by the
// service (an unknown, duplicate or mistyped member of a call is refused) and
// as strictly by the client, so that a confused peer is noticed at once.
#pragma once

#include <boost/system/result.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cloister::varlink {

using Json = nlohmann::json;

struct Call {
  std::string method;  // qualified: io.cloister.Launcher.Run
  Json parameters = Json::object();
  bool more = false;
  bool oneway = false;
  bool upgrade = false;
};

struct Reply {
  Json parameters = Json::object();
  bool continues = false;
  std::string error;  // qualified name; empty = success
};

// Why an envelope was refused: the member, the reason, and if it is about a
// value, what was expected and what was there.
struct Malformed {
  std::string field;  // "" = the message as a whole
  std::string reason;
  std::string expected, got;
};

boost::system::result<Call, Malformed> parse_call(std::string_view text);
boost::system::result<Reply, Malformed> parse_reply(std::string_view text);

std::string to_text(const Call& call);
std::string to_text(const Reply& reply);

// A call whose parameters are JSON text already.
std::string call_text(std::string_view method, std::string_view parameters, bool more = false,
                      bool oneway = false);

}  // namespace cloister::varlink
