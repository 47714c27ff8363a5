#include "decide/subordinate.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {
namespace {

constexpr uint64_t kIds = UINT32_MAX;  // (uid_t)-1 is no id
constexpr off_t kLargest = 1 << 20;

// Decimal digits and nothing else, or nothing.
std::optional<uint64_t> number(std::string_view text) {
  uint64_t value{};
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || at != end) return std::nullopt;
  return value;
}

bool overlap(const IdSpan& a, const IdSpan& b) {
  return uint64_t{a.first} < uint64_t{b.first} + b.count &&
         uint64_t{b.first} < uint64_t{a.first} + a.count;
}

bool within(const IdSpan& inner, const IdSpan& outer) {
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
  if (info.st_size > kLargest) return "is larger than 1 MiB";
  text.resize(static_cast<size_t>(info.st_size));
  return ::read(fd.borrow(), text.data(), text.size()) == info.st_size ? "" : "cannot be read";
}

}  // namespace

void SubordinateFile::read(std::string_view text, const FindUser& find,
                           std::vector<std::string>& complaints) {
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
    const IdSpan span{static_cast<uint32_t>(*first), static_cast<uint32_t>(*count)};
    std::vector<IdSpan>& all = spans_[*user];
    const auto other = std::find_if(all.begin(), all.end(),
                                    [&](const IdSpan& each) { return overlap(each, span); });
    if (other == all.end())
      all.push_back(span);
    else if (!within(span, *other))  // once by name and once by number is usual
      complain("overlaps another line of the same owner");
  }
}

const std::vector<IdSpan>& SubordinateFile::of(uid_t owner) const {
  static const std::vector<IdSpan> none;
  const auto found = spans_.find(owner);
  return found == spans_.end() ? none : found->second;
}

bool SubordinateFile::holds(uid_t owner, uint32_t first, uint32_t count) const {
  const uint64_t end = uint64_t{first} + count;
  uint64_t at = first;
  for (bool moved = true; moved && at < end;) {
    moved = false;
    for (const IdSpan& span : of(owner)) {
      if (at < span.first || at >= uint64_t{span.first} + span.count) continue;
      at = uint64_t{span.first} + span.count;
      moved = true;
    }
  }
  return count > 0 && at >= end;
}

std::optional<uid_t> SubordinateFile::owner_within(uint32_t first, uint32_t count) const {
  for (const auto& [owner, spans] : spans_)
    for (const IdSpan& span : spans)
      if (overlap(span, {first, count})) return owner;
  return std::nullopt;
}

Misconfiguration SubordinateIds::read_files(bool root_only, const SubordinateFile::FindUser& find,
                                            std::vector<std::string>& complaints) {
  SubordinateIds fresh;
  struct File {
    const char* path;
    SubordinateFile& into;
  };
  for (const File& file : {File{"/etc/subuid", fresh.uids}, File{"/etc/subgid", fresh.gids}}) {
    std::string text;
    if (const std::string problem = read_file(file.path, root_only, text); !problem.empty())
      return {file.path, {}, problem};
    std::vector<std::string> own;
    file.into.read(text, find, own);
    for (const std::string& complaint : own)
      complaints.push_back(std::string(file.path) + ", " + complaint);
  }
  *this = std::move(fresh);
  return {};
}

}  // namespace cloister::monitor
