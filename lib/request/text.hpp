// Bytes to a JSON document, strictly. The only place where JSON text is
// parsed: the request, profiles, the Varlink envelope and the client's replies
// all come through here.
//
// Runs on bytes of a stranger, in the front (as the client) and in clients.
#pragma once

#include <boost/system/result.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "cloister/request.hpp"

namespace cloister::request {

using json = nlohmann::json;
template <class T>
using Result = boost::system::result<T, Problem>;

inline constexpr size_t kMaxText = 4u << 20;           // bytes of one message
inline constexpr unsigned kMaxDepth = 64;              // levels of arrays and objects
inline constexpr size_t kMaxMembers = 65536;           // of one array or object
inline constexpr size_t kMaxValues = 4 * kMaxMembers;  // of one text

enum class Comments { refused, allowed };

// Refused: a size, depth or count past the bounds above, syntax that is not
// RFC 8259 (a byte order mark included), duplicate keys in any spelling, NUL
// and invalid UTF-8 inside strings, the number -0. Numbers that are not plain
// integers within 64 bits stay floating point, so no reader of integers takes
// them.
Result<json> parse_text(std::string_view text, Comments comments = Comments::refused);

// One line that shows `value` in an error: its JSON, cut to a bounded length.
std::string shown(const json& value);
std::string shown(const std::string& text);

bool is_utf8(std::string_view bytes);

std::string to_base64(std::string_view bytes);
// False unless `text` is canonical base64 (RFC 4648, padded).
bool from_base64(std::string_view text, std::string& bytes);

}  // namespace cloister::request
