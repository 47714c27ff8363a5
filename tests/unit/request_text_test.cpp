// The text of a request: JSON as RFC 8259 has it, bounded, and errors that are text too.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cloister/request.hpp"
#include "request/reader.hpp"
#include "request/text.hpp"
#include "requests.hpp"

using namespace cloister;
using namespace cloister::test;
using request::parse_text;

namespace {

// Of this process, so that a busy machine fails nobody.
double ms_of(const auto& work) {
  const std::clock_t start = std::clock();
  work();
  return 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

TEST_CASE("a duplicate key is refused in any spelling and at any depth") {
  refuses(R"("nice": 1, "nice": 1)", "nice");
  refuses(R"("nice": 1, "\u006eice": 1)", "nice");
  refuses(R"("identity": {"ruid": 1, "\u0072uid": 0})", "identity.ruid");
  refuses(R"("mounts": [{"at": "/a", "bind": "/a"}, {"at": "/b", "bind": "/b", "at": "/c"}])",
          "mounts[1].at");
  refuses(R"("env": {"A": "1", "A": "2"})", "env.A");
}

TEST_CASE("text is bounded in size, depth and count") {
  std::string text = "{}";
  text.resize(request::kMaxText, ' ');
  CHECK(parse_text(text).has_value());
  text += ' ';
  CHECK(parse_text(text).has_error());

  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK(parse_text(nested(request::kMaxDepth)).has_value());
  CHECK(parse_text(nested(request::kMaxDepth + 1)).has_error());

  const auto elements = [](size_t count) {
    std::string list = "[0";
    for (size_t i = 1; i < count; ++i) list += ",0";
    return list + ']';
  };
  CHECK(parse_text(elements(request::kMaxMembers)).has_value());
  CHECK(parse_text(elements(request::kMaxMembers + 1)).has_error());
  const std::string quarter = elements(request::kMaxMembers - 2);
  const std::string four = quarter + ',' + quarter + ',' + quarter + ',' + quarter;
  CHECK(parse_text('[' + four + ']').has_value());
  CHECK(parse_text('[' + four + ",0,0,0,0]").has_error());
}

TEST_CASE("U26: hostile text costs no more than a few times the longest honest one") {
  // The best of a few: a busy machine is not the reader's either.
  const auto best_of = [](const std::string& text, bool expected) {
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      bool accepted = !expected;
      best = std::min(best, ms_of([&] { accepted = parse(text).has_value(); }));
      CHECK(accepted == expected);
    }
    return best;
  };
  std::string longest = R"({"argv": ["x")";
  while (longest.size() < request::kMaxText / 2) longest += ",\"" + std::string(60, 'x') + '"';
  const double honest = best_of(longest + "]}", true);
  const auto refused_soon = [&](const std::string& text) {
    const double took = best_of(text, false);
    INFO(took << " ms, the longest honest one " << honest << " ms");
    CHECK(took <= 5 * honest);
  };
  refused_soon(std::string(1000000, '['));
  std::string nested;
  for (int i = 0; i < 500000; ++i) nested += "{\"\":";
  refused_soon(nested);
  std::string keys = "{";
  for (int i = 0; i < 100000; ++i) keys += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  refused_soon(keys + '}');
  refused_soon("{\"argv\": [\"" + std::string(4000000, 'x') + "\"]}");
}

TEST_CASE("an error shows what it got, briefly and as text") {
  const Answer long_one = reading(with("\"nice\": \"" + std::string(3000, 'x') + '"'));
  CHECK(long_one.problem.got.size() < 120);
  const Answer long_key = reading(with('"' + std::string(3000, 'k') + "\": 1"));
  CHECK(long_key.problem.field.size() <= 64);
  CHECK(long_key.problem.got.size() < 120);
  const Answer euros = reading(with("\"nice\": \"" + std::string(79, 'x') + "\u20ac\""));
  CHECK(request::is_utf8(euros.problem.got));
  CHECK(reading(with(R"("nice": 20)")).problem.got == "20");
  CHECK(reading(with(R"("nice": 20)")).problem.expected == "an integer from -20 to 19");
}

TEST_CASE("to_json names the field that JSON cannot carry") {
  Request request;
  request.name = "\xff";
  CHECK_THROWS_WITH_AS(to_json(request), "name: must be UTF-8 text", std::invalid_argument);
  request.name.reset();
  request.env["\xff"] = "";
  CHECK_THROWS_AS(to_json(request), std::invalid_argument);
}

// Texts in the manner of the public JSON test suites: y_ must be accepted, n_
// refused; where RFC 8259 leaves it open this reader refuses.
TEST_CASE("JSON is read as RFC 8259 has it") {
  for (const char* text : {"[]",
                           "{}",
                           "[[]]",
                           "0",
                           "-1",
                           "1e5",
                           "1E+2",
                           "1.5e-3",
                           "\"\"",
                           "null",
                           " [1] ",
                           "\t\n\r[]",
                           "[1,2]",
                           "{\"\":0}",
                           "{\"a\":[]}",
                           R"("\"\\\/\b\f\n\r\t")",
                           R"("\u00e9")",
                           "\"\xf0\x9f\x98\x80\"",
                           "\"\x7f\"",
                           R"("\uD83D\uDE00")",
                           "[true,false,null]",
                           "123456789012345678901234567890",
                           "-9223372036854775808",
                           "\"\xef\xbf\xbf\""})
    CHECK_MESSAGE(parse_text(text).has_value(), text);
  for (const char* text : {"",
                           " ",
                           "[",
                           "]",
                           "{",
                           "}",
                           "[1",
                           "[1,]",
                           "[,1]",
                           "[1,,2]",
                           "{,}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{\"a\" 1}",
                           "{a:1}",
                           "{'a':1}",
                           "{1:1}",
                           "[1]x",
                           "[][]",
                           "nul",
                           "NULL",
                           "True",
                           "tru",
                           "01",
                           "-01",
                           "1.",
                           ".1",
                           "1e",
                           "1e+",
                           "--1",
                           "+1",
                           "0x1",
                           "1_000",
                           "Infinity",
                           "-Infinity",
                           "NaN",
                           "1e400",
                           "-1e400",
                           "\"",
                           "\"a",
                           "'a'",
                           R"("\a")",
                           R"("\u")",
                           R"("\u00")",
                           R"("\uD800")",
                           R"("\uDC00")",
                           R"("\uD800\uD800")",
                           R"("\u0000")",
                           "\"\x01\"",
                           "\"\x1f\"",
                           "\"a\nb\"",
                           "\"\xff\"",
                           "\"\x80\"",
                           "\"\xc3\"",
                           "\"\xc0\x80\"",
                           "\"\xe0\x80\x80\"",
                           "\"\xed\xbf\xbf\"",
                           "\"\xf8\x88\x80\x80\x80\"",
                           "\"\xf4\xbf\xbf\xbf\"",
                           "\xef\xbb\xbf{}",
                           "\xff\xfe[\x01]\x01",
                           "// c\n[]",
                           "/* c */[]",
                           "[1]#",
                           "{\"a\":1,\"a\":1}",
                           "-0",
                           "[-0]",
                           "\x0c[]",
                           "\xc2\xa0[]"})
    CHECK_MESSAGE(parse_text(text).has_error(), text);
  CHECK(parse_text(std::string_view("[\"a\0b\"]", 7)).has_error());
  CHECK(parse_text(std::string_view("[]\0", 3)).has_error());
  CHECK(parse_text("-0.0").has_value());  // a real number, never taken for an integer
}

TEST_CASE("parameters of methods are read as strictly as requests") {
  using request::Reader;
  constexpr auto required = Reader::Need::required;
  static constexpr const char* kScopes[] = {"main", "group", "all"};
  const auto document = *parse_text(
      R"({"id": "j-1", "signal": "SIGTERM", "scope": "group", "timeout": "5s", "n": 7,
          "options": ["all", "main"], "all": true, "request": {}, "pgid": null})");
  Reader in(document, "parameters");
  CHECK(in.text("id", required) == "j-1");
  CHECK(in.signal("signal", required) == 15);
  CHECK(in.word("scope", kScopes) == 1u);
  CHECK(in.duration("timeout") == std::chrono::seconds(5));
  CHECK(in.integer("n", 7, 7) == 7);
  CHECK(in.words("options", kScopes) == std::vector<size_t>{2, 0});
  CHECK(in.boolean("all") == true);
  CHECK(in.object("request") != nullptr);
  CHECK_FALSE(in.integer("pgid", 0, 9).has_value());
  CHECK_FALSE(in.has("pgid"));
  CHECK_FALSE(in.finish().has_value());

  const auto problem_of = [](const char* text, const auto& read) {
    const auto parsed = *parse_text(text);
    Reader reader(parsed, "parameters");
    read(reader);
    return reader.finish().value_or(Problem{}).field;
  };
  const auto id = [](Reader& reader) { reader.text("id", required); };
  CHECK(problem_of("{}", id) == "parameters.id");
  CHECK(problem_of(R"({"id": null})", id) == "parameters.id");
  CHECK(problem_of(R"({"id": 1})", id) == "parameters.id");
  CHECK(problem_of(R"({"id": "a", "di": "b"})", id) == "parameters.di");
  CHECK(problem_of("[]", id) == "parameters");
  CHECK(problem_of(R"({"n": 8})", [](Reader& reader) { reader.integer("n", 0, 7); }) ==
        "parameters.n");
  CHECK(problem_of(R"({"o": ["all", "all"]})",
                   [](Reader& reader) { reader.words("o", kScopes); }) == "parameters.o");
  CHECK(problem_of(R"({"o": ["none"]})", [](Reader& reader) { reader.words("o", kScopes); }) ==
        "parameters.o[0]");
  CHECK(problem_of(R"({"r": []})", [](Reader& reader) { reader.object("r"); }) == "parameters.r");
}
