#include "table.hpp"

#include <time.h>

#include <algorithm>
#include <cstdio>

namespace cloister::command {
namespace {

// Columns a cell takes: UTF-8 continuation bytes take none.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

Table::Table(std::vector<std::string> titles) {
  if (!titles.empty()) rows_.push_back(std::move(titles));
}

void Table::add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); i++) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width(row[i]));
    }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); i++) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - width(row[i]) + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string printable(std::string_view text) {
  std::string clean(text);
  bool second_block = false;  // after C2: U+0080 to U+009F are control characters too
  for (char& c : clean) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (second_block && byte < 0xa0)) c = '?';
    second_block = byte == 0xc2;
  }
  return clean;
}

std::string command_line(const std::vector<std::string>& argv, size_t most) {
  std::string text;
  for (const std::string& word : argv) text += (text.empty() ? "" : " ") + quoted(word);
  if (text.size() <= most) return text;
  text.resize(most);
  // No half character at the cut.
  while (!text.empty() && (text.back() & 0xc0) == 0x80) text.pop_back();
  if (!text.empty() && (text.back() & 0x80) != 0) text.pop_back();
  return text + "…";
}

std::string age(std::string_view time, long long now) {
  struct tm utc {};
  const std::string copy(time);
  if (std::sscanf(copy.c_str(), "%d-%d-%dT%d:%d:%d", &utc.tm_year, &utc.tm_mon, &utc.tm_mday,
                  &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6)
    return "-";
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  const long long seconds = std::max(now - static_cast<long long>(::timegm(&utc)), 0LL);
  if (seconds < 120) return std::to_string(seconds) + "s";
  if (seconds < 7200) return std::to_string(seconds / 60) + "m";
  if (seconds < 172800) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / 86400) + "d";
}

}  // namespace cloister::command
