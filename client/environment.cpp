#include "environment.hpp"

#include <algorithm>

#include "file.hpp"

namespace cloister::command {
namespace {

constexpr std::string_view kAlways[] = {"PATH", "LANG", "TERM", "TZ"};
constexpr std::string_view kOfTheUser[] = {"HOME", "USER", "LOGNAME", "SHELL"};

// "NAME=VALUE", or "NAME" for the caller's own value.
void add(std::string_view text, const std::string& where, const Variables& own, Variables& out) {
  const size_t equals = text.find('=');
  const std::string name(text.substr(0, equals));
  if (name.empty()) throw Trouble{where + ": a variable needs a name before ="};
  if (equals != std::string_view::npos) {
    out[name] = text.substr(equals + 1);
    return;
  }
  const auto found = own.find(name);
  if (found == own.end())
    throw Trouble{where + ": " + name + " is not set here; " + name + "=VALUE gives it one"};
  out[name] = found->second;
}

}  // namespace

bool is_implied(std::string_view name, bool another_user) {
  const auto in = [&](const auto& list) {
    return std::find(std::begin(list), std::end(list), name) != std::end(list);
  };
  return in(kAlways) || name.starts_with("LC_") || (!another_user && in(kOfTheUser));
}

void read_env_file(const std::string& path, const Variables& own, Variables& out) {
  const std::string text = read_file(path);
  size_t number = 1;
  for (std::string_view rest = text; !rest.empty(); number++) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find('\0') != std::string_view::npos)
      throw Trouble{path + ":" + std::to_string(number) + ": holds a NUL byte"};
    if (line.empty() || line[0] == '#') continue;
    add(line, path + ":" + std::to_string(number), own, out);
  }
}

Environment compose_environment(const CommandLine& line, std::span<const char* const> own,
                                bool another_user) {
  Variables mine;
  for (const std::string_view entry : own)
    // A name may begin with =, as shells of other systems make them; ours cannot say those.
    if (const size_t equals = entry.find('='); equals != 0 && equals != std::string_view::npos)
      mine.try_emplace(std::string(entry.substr(0, equals)), entry.substr(equals + 1));

  Environment result;
  const bool everything = line.has(Opt::env_all);
  for (const auto& [name, value] : mine)
    if (everything || is_implied(name, another_user)) result.implied.emplace(name, value);
  for (const auto& [id, value] : line.options) {
    if (id == Opt::env) add(value, "-e", mine, result.asked);
    if (id == Opt::env_file) read_env_file(std::string(value), mine, result.asked);
  }
  return result;
}

}  // namespace cloister::command
