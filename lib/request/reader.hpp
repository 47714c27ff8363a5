// Reader: the members of one JSON object, read with the strictness of a
// request. For the Varlink envelope and the parameters of methods.
//
//   Reader in(parameters);
//   const auto id = in.text("id", Reader::Need::required);
//   const auto signal = in.signal("signal", Reader::Need::required);
//   if (auto problem = in.finish()) return *problem;
//
// null is absent. The first problem is kept and everything after it reads as
// absent; finish() returns it, or refuses the members nobody asked for. Values
// may be used only after finish() returned none.
#pragma once

#include <boost/system/result.hpp>
#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text.hpp"

namespace cloister::request {

class Reader {
 public:
  enum class Need { optional, required };

  // Borrows `object`. `path` begins the field paths of problems.
  explicit Reader(const json& object, std::string path = {});

  std::optional<std::string> text(std::string_view name, Need need = Need::optional,
                                  size_t most = 4096);
  std::optional<bool> boolean(std::string_view name, Need need = Need::optional);
  std::optional<int64_t> integer(std::string_view name, int64_t low, int64_t high,
                                 Need need = Need::optional);
  std::optional<int32_t> signal(std::string_view name, Need need = Need::optional);
  std::optional<std::chrono::milliseconds> duration(std::string_view name,
                                                    Need need = Need::optional);
  // The index of the word in `words`.
  std::optional<size_t> word(std::string_view name, std::span<const char* const> words,
                             Need need = Need::optional);
  // A list of distinct words, by their indexes.
  std::optional<std::vector<size_t>> words(std::string_view name,
                                           std::span<const char* const> words,
                                           Need need = Need::optional);
  // Any value, or an object; borrowed, null if absent.
  const json* value(std::string_view name, Need need = Need::optional);
  const json* object(std::string_view name, Need need = Need::optional);

  // True if the member is there and is not null.
  bool has(std::string_view name) const;
  // For the caller's own rules.
  void refuse(std::string_view name, std::string reason, std::string expected, std::string got);

  [[nodiscard]] std::optional<Problem> finish();

 private:
  const json* find(std::string_view name, Need need);
  template <class T, class C>
  std::optional<T> read(std::string_view name, const C& codec, Need need);

  const json& object_;
  std::string path_;
  std::set<std::string, std::less<>> asked_;
  std::optional<Problem> problem_;
};

}  // namespace cloister::request
