// subuid(5) and subgid(5) as cloister-config reads them: what newuidmap(1) would
// allow, and nothing from a line that makes no sense. And what the monitor finds
// in the lines.
#include <algorithm>
#include <string>

#include "decide/subordinate.hpp"
#include "outcome.hpp"
#include "subordinate_lines.hpp"

using namespace cloister::monitor;

namespace {

std::optional<uid_t> find(const std::string& name) {
  if (name == "alice") return 1000;
  if (name == "bob") return 1001;
  return std::nullopt;
}

struct Read {
  std::vector<std::string> complaints;
  cloister::config::Lines lines;
  SubordinateFile file;
  explicit Read(const std::string& text)
      : lines(cloister::config::parse_subordinate(text, find, complaints)) {
    for (const auto& line : lines) file.add(line.owner, {line.first, line.count});
  }
  std::optional<uid_t> owner_within(uint32_t first, uint32_t count) const {
    return cloister::config::owner_within(lines, first, count);
  }
};

using Spans = std::vector<IdSpan>;

}  // namespace

TEST_CASE("the spans of a user are found by name and by number, in the order of the file") {
  const Read read(
      "alice:300000:1000\nbob:100000:65536\n1000:200000:10\nnobody-here:500000:5\n4000:600000:7");
  CHECK(read.complaints.empty());
  CHECK(read.file.of(1000) == Spans{{300000, 1000}, {200000, 10}});
  CHECK(read.file.of(1001) == Spans{{100000, 65536}});
  CHECK(read.file.of(4000) == Spans{{600000, 7}});
  CHECK(read.file.of(0).empty());
}

TEST_CASE("comments, blank lines and users that do not exist are passed over") {
  const Read read("# alice:1:1\n\n\nmallory:100000:65536\n");
  CHECK(read.complaints.empty());
  CHECK(read.file.of(1000).empty());
}

TEST_CASE("a line that makes no sense is left out and complained about, the rest is kept") {
  for (const char* line : {"alice",
                           "alice:",
                           "alice:100000",
                           "alice:100000:",
                           ":100000:65536",
                           "alice::65536",
                           "alice:-1:10",
                           "alice:+5:10",
                           "alice: 100000:10",
                           "alice:100000:10 ",
                           "alice:0x10:10",
                           "alice:1e5:10",
                           "alice:100000:10:",
                           "alice:100000:10:3",
                           "alice:100000:0",
                           "alice:4294967295:1",
                           "alice:4294967294:2",
                           "alice:1:4294967295",
                           "alice:18446744073709551616:1",
                           "alice:18446744073709551615:2",
                           "alice:100000:4294967296",
                           "alice:100000:18446744073709551516",
                           "alice:0:65536",
                           "alice:0:1",
                           "alice:100000:10\r",
                           "alice"}) {
    CAPTURE(std::string(line));
    const Read read("bob:1000000:5\n" + std::string(line) + "\nalice:70000:3");
    REQUIRE(read.complaints.size() == 1);
    CHECK(read.complaints[0].starts_with("line 2: "));
    CHECK(read.file.of(1000) == Spans{{70000, 3}});
    CHECK(read.file.of(1001) == Spans{{1000000, 5}});
  }
  const Read nul(std::string("alice:100000:10\0\nalice:5:1", 26));
  CHECK(nul.complaints.size() == 1);
  CHECK(nul.file.of(1000) == Spans{{5, 1}});
}

TEST_CASE("the last id that there is can be somebody's subordinate") {
  const Read read("alice:4294967294:1\nbob:1:4294967294\n");
  CHECK(read.complaints.empty());
  CHECK(read.file.of(1000) == Spans{{4294967294, 1}});
  CHECK(read.file.holds(1001, 4294967294, 1));
  CHECK(read.file.holds(1001, 1, 4294967294));
}

TEST_CASE("an owner that is no uid owns nothing") {
  const Read read("4294967295:100000:10\n18446744073709551616:100000:10\n");
  CHECK(read.file.of(4294967295).empty());
  CHECK(!read.owner_within(0, 4294967295));
}

TEST_CASE("the same span by name and by number counts once, an overlap is refused") {
  const Read read("alice:100000:65536\n1000:100000:65536\nalice:100010:5\nalice:165535:2\n");
  CHECK(read.file.of(1000) == Spans{{100000, 65536}});
  REQUIRE(read.complaints.size() == 1);
  CHECK(read.complaints[0] == "line 4: overlaps another line of the same owner");
}

TEST_CASE("all ids of a span must be the owner's; spans that adjoin are one") {
  const Read read("alice:100000:10\nalice:100020:10\nalice:100010:10\nbob:100030:10\n");
  CHECK(read.file.holds(1000, 100000, 30));
  CHECK(read.file.holds(1000, 100009, 2));
  CHECK(read.file.holds(1000, 100029, 1));
  CHECK(!read.file.holds(1000, 100000, 31));
  CHECK(!read.file.holds(1000, 99999, 2));
  CHECK(!read.file.holds(1000, 100000, 0));
  CHECK(!read.file.holds(1000, 100005, 4294967295));
  CHECK(!read.file.holds(1001, 100000, 1));
  CHECK(!read.file.holds(1000, 0, 1));
}

TEST_CASE("who has a part of a span is known") {
  const Read read("alice:100000:10\nbob:200000:10\n");
  CHECK(read.owner_within(200009, 100) == uid_t{1001});
  CHECK(read.owner_within(0, 100001) == uid_t{1000});
  CHECK(!read.owner_within(100010, 99990));
}
