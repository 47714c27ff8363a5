#include "mountinfo.hpp"

namespace cloister::init {
namespace {

// The next field, ended by a NUL; `at` is moved behind it.
char* field(char*& at) {
  char* const begin = at;
  while (*at && *at != ' ') ++at;
  if (*at) *at++ = 0;
  return begin;
}

uint32_t number(const char* text) {
  uint32_t value = 0;
  for (; *text >= '0' && *text <= '9'; ++text)
    value = value * 10 + static_cast<uint32_t>(*text - '0');
  return value;
}

// White space and backslashes in paths are \ooo.
const char* unescaped(char* text) {
  char* to = text;
  for (const char* from = text; *from; ++to) {
    const bool escape = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                        from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
    *to = escape ? static_cast<char>((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'))
                 : *from;
    from += escape ? 4 : 1;
  }
  *to = 0;
  return text;
}

}  // namespace

bool read_mount_line(char* line, MountLine& out) {
  char* at = line;
  out.id = number(field(at));
  out.parent = number(field(at));
  field(at);  // major:minor
  out.root = unescaped(field(at));
  out.point = unescaped(field(at));
  out.options = field(at);
  for (;;) {
    const char* const tag = field(at);
    if (!*tag) return false;
    if (tag[0] == '-' && !tag[1]) break;
  }
  out.type = field(at);
  return out.id != 0 && *out.root && out.point[0] == '/' && *out.type;
}

}  // namespace cloister::init
