#include "subordinate_lines.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>

#include "config_files.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::config {
namespace {

using plan::SubordinateLine;

constexpr uint64_t kIds = UINT32_MAX;  // (uid_t)-1 is no id

// Decimal digits and nothing else, or nothing.
std::optional<uint64_t> number(std::string_view text) {
  uint64_t value{};
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || at != end) return std::nullopt;
  return value;
}

bool overlap(const SubordinateLine& a, const SubordinateLine& b) {
  return uint64_t{a.first} < uint64_t{b.first} + b.count &&
         uint64_t{b.first} < uint64_t{a.first} + a.count;
}

bool within(const SubordinateLine& inner, const SubordinateLine& outer) {
  return inner.first >= outer.first &&
         uint64_t{inner.first} + inner.count <= uint64_t{outer.first} + outer.count;
}

// The next part of `rest` up to `separator`, which is taken away too.
std::string_view cut(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view{} : rest.substr(at + 1);
  return part;
}

// Empty, or what is wrong; a file that is not there leaves `text` empty.
std::string read_file(const char* path, bool root_only, std::string& text) {
  const sys::UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return errno == ENOENT ? "" : std::strerror(errno);
  struct stat info {};
  if (::fstat(fd.borrow(), &info) < 0) return std::strerror(errno);
  if (!S_ISREG(info.st_mode)) return "is not a regular file";
  if (root_only && info.st_uid != 0) return "does not belong to root";
  if (root_only && (info.st_mode & (S_IWGRP | S_IWOTH)))
    return "is writable by others; chmod go-w it";
  if (info.st_size > off_t{plan::kMaxPolicyFile}) return "is larger than 1 MiB";
  text.resize(static_cast<size_t>(info.st_size));
  return ::read(fd.borrow(), text.data(), text.size()) == info.st_size ? "" : "cannot be read";
}

std::optional<uid_t> find_user(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  return entry ? std::optional(entry->pw_uid) : std::nullopt;
}

}  // namespace

Lines parse_subordinate(std::string_view text, const FindUser& find,
                        std::vector<std::string>& complaints) {
  Lines all;
  std::map<uid_t, Lines> of;
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = cut(text, '\n');
    if (line.empty() || line[0] == '#') continue;
    const auto complain = [&](const char* what) {
      complaints.push_back("line " + std::to_string(line_number) + ": " + what);
    };
    std::string_view rest = line;
    const std::string_view owner = cut(rest, ':');
    const std::optional<uint64_t> first = number(cut(rest, ':')), count = number(rest);
    if (owner.empty() || !first || !count) {
      complain("is not OWNER:FIRST:COUNT");
      continue;
    }
    if (*count == 0 || *first >= kIds || *count > kIds - *first) {
      complain(*count == 0 ? "has no ids" : "reaches past the last id");
      continue;
    }
    if (*first == 0) {
      complain("holds id 0, which is nobody's subordinate");
      continue;
    }
    std::optional<uid_t> user;
    if (const std::optional<uint64_t> as_number = number(owner)) {
      if (*as_number < kIds) user = static_cast<uid_t>(*as_number);
    } else {
      user = find(std::string(owner));
    }
    if (!user) continue;
    const SubordinateLine one{*user, static_cast<uint32_t>(*first), static_cast<uint32_t>(*count)};
    Lines& owners = of[*user];
    const auto other = std::find_if(owners.begin(), owners.end(), [&](const SubordinateLine& each) {
      return overlap(each, one);
    });
    if (other == owners.end()) {
      owners.push_back(one);
      all.push_back(one);
    } else if (!within(one, *other)) {  // once by name and once by number is usual
      complain("overlaps another line of the same owner");
    }
  }
  return all;
}

std::optional<uid_t> owner_within(const Lines& lines, uint32_t first, uint32_t count) {
  for (const SubordinateLine& line : lines)
    if (overlap(line, {0, first, count})) return line.owner;
  return std::nullopt;
}

Misconfiguration read_subordinate(bool of_root, Config& config) {
  struct File {
    const char* path;
    Lines& into;
  };
  for (const File& file :
       {File{"/etc/subuid", config.subuids}, File{"/etc/subgid", config.subgids}}) {
    std::string text;
    if (const std::string problem = read_file(file.path, of_root, text); !problem.empty())
      return {file.path, {}, problem};
    std::vector<std::string> complaints;
    file.into = parse_subordinate(text, find_user, complaints);
    for (const std::string& complaint : complaints)
      std::fprintf(stderr, "cloisterd: ignored: %s, %s\n", file.path, complaint.c_str());
  }
  const plan::Pool& lease = config.settings.lease;
  if (lease.count == 0) return {};
  for (const Lines* lines : {&config.subuids, &config.subgids})
    if (const auto owner = owner_within(*lines, lease.first, lease.count))
      return {{},
              "lease",
              "has ids that are subordinate to uid " + std::to_string(*owner) +
                  ", see subuid(5) and subgid(5)"};
  return {};
}

}  // namespace cloister::config
