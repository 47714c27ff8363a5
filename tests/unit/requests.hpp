// Requests as text, and what the strict reader says of them.
#pragma once

#include <string>
#include <string_view>

#include "cloister/request.hpp"
#include "outcome.hpp"

namespace cloister::test {

struct Answer {
  bool accepted;
  Problem problem;
};

inline Answer reading(std::string_view text) {
  const auto parsed = parse(text);
  return {parsed.has_value(), parsed ? Problem{} : parsed.error()};
}

// A request that lacks nothing, with one more member.
inline std::string with(std::string_view member) {
  return R"({"argv": ["a"], )" + std::string(member) + '}';
}

inline void refuses(std::string_view member, std::string_view field) {
  CAPTURE(member);
  const Answer got = reading(with(member));
  CHECK_FALSE(got.accepted);
  CHECK(got.problem.field == field);
  CHECK(got.problem.kind == Problem::Kind::invalid);
  CHECK_FALSE(got.problem.reason.empty());
}

inline Request accepted(std::string_view member) {
  CAPTURE(member);
  const auto parsed = parse(with(member));
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().field, ' ', parsed.error().reason);
  return *parsed;
}

}  // namespace cloister::test
