// The values of a request: what is accepted, what is refused and on which field.
#include <chrono>

#include "cloister/request.hpp"
#include "plan/plan.hpp"
#include "request/text.hpp"
#include "request/words.hpp"
#include "requests.hpp"

using namespace cloister;
using namespace cloister::test;

TEST_CASE("the words for groups of Landlock's accesses are those of their members, and no others") {
  const auto bit = [](std::string_view name) {
    for (const auto& word : request::landlock_accesses())
      if (word.name == name) return word.value;
    FAIL("no such word");
    return int64_t{0};
  };
  const auto all = [&](std::initializer_list<const char*> names) {
    int64_t sum = 0;
    for (const char* name : names) sum |= bit(std::string("LANDLOCK_ACCESS_FS_") + name);
    return sum;
  };
  CHECK(bit("read") == all({"READ_FILE", "READ_DIR"}));
  CHECK(bit("execute") == all({"EXECUTE"}));
  CHECK(bit("write") == all({"WRITE_FILE", "REMOVE_DIR", "REMOVE_FILE", "MAKE_DIR", "MAKE_REG",
                             "MAKE_SOCK", "MAKE_FIFO", "MAKE_SYM", "REFER", "TRUNCATE"}));
}

TEST_CASE("ids are exact or refused") {
  const auto ruid = [](std::string_view number) {
    return R"("identity": {"ruid": )" + std::string(number) + '}';
  };
  for (const char* number :
       {"-1", "4294967295", "4294967296", "9007199254740993", "9223372036854775808",
        "18446744073709551616", "1e3", "1.0", "-0", "1E0", "0.0", "true", "[]", "{}"})
    refuses(ruid(number), "identity.ruid");
  for (const char* number : {"007", "+1", "0x10", "01", ".5", "1.", "NaN", "Infinity", "-"})
    refuses(ruid(number), "identity.ruid");  // no JSON at all
  CHECK(std::get<Ids>(*accepted(ruid("4294967294")).identity).ruid == Id(4294967294u));
  CHECK(std::get<Ids>(*accepted(ruid("0")).identity).ruid == Id(0u));
  // A name, which may look like a number; the user database decides.
  CHECK(std::get<Ids>(*accepted(ruid("\"1\"")).identity).ruid == Id("1"));
}

TEST_CASE("numbers are accepted up to their range and no further") {
  struct Range {
    const char* member;
    const char* field;
    const char* low;
    const char* high;
    const char* below;
    const char* above;
  };
  for (const Range& range : {
           Range{R"("nice": %)", "nice", "-20", "19", "-21", "20"},
           Range{R"("oom_score_adj": %)", "oom_score_adj", "-1000", "1000", "-1001", "1001"},
           Range{R"("setpgroup": %)", "setpgroup", "0", "2147483647", "-1", "2147483648"},
           Range{R"("affinity": [%])", "affinity[0]", "0", "1023", "-1", "1024"},
           Range{R"("timer_slack_ns": %)", "timer_slack_ns", "1", "9223372036854775807", "0",
                 "9223372036854775808"},
           Range{R"("time_offsets": {"boottime_ns": %})", "time_offsets.boottime_ns",
                 "-4611686018427387903", "4611686018427387903", "-4611686018427387904",
                 "4611686018427387904"},
           Range{R"("terminal": {"rows": %})", "terminal.rows", "1", "65535", "0", "65536"},
           Range{R"("file_actions": [{"close": {"fd": %}}])", "file_actions[0].close.fd", "0",
                 "1048576", "-1", "1048577"},
           Range{R"("stdin": {"passed_fd": %})", "stdin.passed_fd", "0", "8191", "-1", "8192"},
           Range{R"("uid_map": [{"inside": %, "outside": 1, "count": 1}])", "uid_map[0].inside",
                 "0", "4294967294", "-1", "4294967295"},
           Range{R"("rlimits": {"RLIMIT_CPU": {"soft": %, "hard": "unlimited"}})",
                 "rlimits.RLIMIT_CPU.soft", "0", "18446744073709551614", "-1",
                 "18446744073709551615"},
           Range{R"("setsigmask": [%])", "setsigmask[0]", "1", "64", "0", "65"},
           Range{R"("ioprio": {"class": "realtime", "level": %})", "ioprio.level", "0", "7", "-1",
                 "8"},
       }) {
    const auto member = [&](const char* number) {
      std::string text = range.member;
      return text.replace(text.find('%'), 1, number);
    };
    accepted(member(range.low));
    accepted(member(range.high));
    refuses(member(range.below), range.field);
    refuses(member(range.above), range.field);
  }
}

TEST_CASE("NUL, control characters and broken UTF-8 are refused in every string") {
  refuses(R"("name": "a\u0000b")", "name");
  refuses(R"("env": {"A\u0000B": "1"})", "env");
  refuses(R"("nice": null, "tags": {"a": "\u0000"})", "tags.a");
  for (const char* bytes :
       {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\n"})
    refuses("\"name\": \"" + std::string(bytes) + '"', "name");
  for (const char* escape : {R"(\ud800)", R"(\udc00)", R"(\ud800\u0041)", R"(\x41)", R"(\u12)"})
    refuses("\"name\": \"" + std::string(escape) + '"', "name");
  CHECK(accepted(R"("name": "\ud83d\ude00")").name == "\xf0\x9f\x98\x80");
  refuses(R"("executable": {"base64": "YQBi"})", "executable.base64");
  CHECK(accepted(R"("executable": {"base64": "/w=="})").executable == PathOrFd("\xff"));
}

TEST_CASE("base64 has one spelling") {
  for (const char* text : {"YQ", "YQ=", "YQ===", "YR==", "Y Q=", "YQ==\\n", "_w==", "=", "===="})
    refuses("\"stdin\": {\"base64\": \"" + std::string(text) + "\"}", "stdin.base64");
  CHECK(std::get<Inline>(*accepted(R"("stdin": {"base64": ""})").standard_input).bytes.empty());
  for (size_t size = 0; size < 300; ++size) {
    std::string bytes, back;
    for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + size);
    REQUIRE(request::from_base64(request::to_base64(bytes), back));
    CHECK(back == bytes);
  }
}

TEST_CASE("argv has a name in it, and each argument fits the kernel's limit") {
  CHECK(reading(R"({"argv": []})").problem.field == "argv");
  CHECK(reading(R"({"argv": [""]})").problem.field == "argv[0]");
  CHECK(reading(R"({"argv": "make"})").problem.field == "argv");
  CHECK(reading(R"({"argv": ["a", 1]})").problem.field == "argv[1]");
  CHECK(reading(R"({"argv": ["a", ""]})").accepted);
  const auto argument = [](size_t size) {
    return R"({"argv": ["a", ")" + std::string(size, 'x') + "\"]}";
  };
  CHECK(reading(argument(plan::kMaxArgumentBytes - 1)).accepted);
  CHECK(reading(argument(plan::kMaxArgumentBytes)).problem.field == "argv[1]");
  const auto count = [](size_t arguments) {
    std::string text = R"({"argv": ["a")";
    for (size_t i = 1; i < arguments; ++i) text += ",\"\"";
    return text + "]}";
  };
  CHECK(reading(count(plan::kMaxArguments)).accepted);
  CHECK_FALSE(reading(count(plan::kMaxArguments + 1)).accepted);
}

TEST_CASE("names of the environment are not empty and hold no =") {
  refuses(R"("env": {"": "1"})", "env.");
  refuses(R"("env": {"A=B": "1"})", "env.A=B");
  refuses(R"("env": {"A": 1})", "env.A");
  refuses(R"("env": ["A=1"])", "env");
  CHECK(accepted(R"j("env": {"-x; rm %n": "$(id)"})j").env.at("-x; rm %n") == "$(id)");
  // The name, "=" and the value are one string for execve(2).
  const auto entry = [](size_t value) {
    return R"("env": {"ABC": ")" + std::string(value, 'x') + "\"}";
  };
  accepted(entry(plan::kMaxArgumentBytes - 5));
  refuses(entry(plan::kMaxArgumentBytes - 4), "env.ABC");
}

TEST_CASE("paths are bounded, absolute where they must be, and free of ..") {
  const auto cwd = [](const std::string& path) { return "\"cwd\": \"" + path + '"'; };
  accepted(cwd("/" + std::string(plan::kMaxPath - 2, 'x')));
  refuses(cwd("/" + std::string(plan::kMaxPath - 1, 'x')), "cwd");
  for (const char* path : {"", "src", "./src", "/a/../b", "/..", "~root/x"})
    refuses(cwd(path), "cwd");
  for (const char* path : {"/", "/a..b", "/...", "~", "~/x"}) accepted(cwd(path));
}

TEST_CASE("sizes are bytes or a number with K, M, G or T") {
  const auto size = [](std::string_view text) {
    return R"("limits": {"swap": )" + std::string(text) + '}';
  };
  CHECK(accepted(size("\"512M\"")).limits.swap == uint64_t{512} << 20);
  CHECK(accepted(size("\"0\"")).limits.swap == 0u);
  CHECK(accepted(size("\"1T\"")).limits.swap == uint64_t{1} << 40);
  CHECK(accepted(size("4096")).limits.swap == 4096u);
  for (const char* text : {"\"\"", "\"M\"", "\"1.5G\"", "\"-1\"", "\"1 K\"", "\"1k\"", "\"01K\"",
                           "\"1KB\"", "\"+1\"", "\"99999999T\"", "-1", "1.0", "1e3"})
    refuses(size(text), "limits.swap");
  // No process fits into less than a page.
  CHECK(accepted(R"("limits": {"memory": "4K"})").limits.memory == 4096u);
  for (const char* text : {"0", "4095", "\"0\"", "\"3K\""})
    refuses(R"("limits": {"memory": )" + std::string(text) + '}', "limits.memory");
}

TEST_CASE("times carry their unit") {
  const auto time = [](std::string_view text) {
    return R"("lifetime": {"stop_timeout": )" + std::string(text) + '}';
  };
  CHECK(accepted(time("\"30s\"")).lifetime.stop_timeout == std::chrono::seconds(30));
  CHECK(accepted(time("\"250ms\"")).lifetime.stop_timeout == std::chrono::milliseconds(250));
  CHECK(accepted(time("\"5m\"")).lifetime.stop_timeout == std::chrono::minutes(5));
  CHECK(accepted(time("\"8760h\"")).lifetime.stop_timeout == std::chrono::hours(8760));
  for (const char* text : {"30", "\"30\"", "\"s\"", "\"1.5s\"", "\"-1s\"", "\"1d\"", "\"8761h\"",
                           "\"1 s\"", "\"18446744073709551615h\"", "\"\""})
    refuses(time(text), "lifetime.stop_timeout");
}

TEST_CASE("modes are octal strings") {
  CHECK(accepted(R"("umask": "0022")").umask == 022u);
  CHECK(accepted(R"("umask": "777")").umask == 0777u);
  for (const char* text : {"18", "\"18\"", "\"1000\"", "\"\"", "\"0x12\"", "\"-1\"", "\"022 \""})
    refuses("\"umask\": " + std::string(text), "umask");
}

TEST_CASE("signals have names and numbers, but not those of the C library") {
  CHECK(*accepted(R"("setsigmask": ["SIGUSR1", 10, "SIGRTMIN+3", 64])").setsigmask ==
        std::vector<int32_t>{10, 10, 37, 64});
  for (const char* signal :
       {"0", "32", "33", "65", "-1", "\"SIGFOO\"", "\"SIGRTMIN+31\"", "1.0", "\"\""})
    refuses("\"setsigmask\": [" + std::string(signal) + ']', "setsigmask[0]");
}
