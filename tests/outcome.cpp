#define DOCTEST_CONFIG_IMPLEMENT
#include "outcome.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace cloister::outcome {
namespace {

std::optional<std::string> skip_reason;

// Cases of known_defects.txt, by name: they fail today, the reason stands
// beside them, and they count as not run until they are mended.
std::map<std::string, std::string> known_defects() {
  std::map<std::string, std::string> defects;
  std::ifstream list(KNOWN_DEFECTS);
  for (std::string line; std::getline(list, line);) {
    const size_t tab = line.find('\t');
    if (tab != std::string::npos && line[0] != '#')
      defects[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return defects;
}
const std::map<std::string, std::string> defects = known_defects();
std::string wanted_file;  // of --source-file=*/NAME: the part behind the slash

// A listener runs beside the console reporter, which shows what failed and where.
class Lines : public doctest::IReporter {
 public:
  explicit Lines(const doctest::ContextOptions&) {}

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {
    std::printf("outcome: %d passed, %d failed, %d skipped\n", passed_, failed_, skipped_);
    std::fflush(stdout);
  }

  void test_case_start(const doctest::TestCaseData& data) override {
    name_ = data.m_name;
    skip_reason.reset();
    crashed_ = false;
  }
  // With subcases a case runs once for each of them.
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    if (crashed_ || stats.failure_flags != 0) {
      ++failed_;
      std::printf("FAILED %s\n", name_.c_str());
    } else if (skip_reason) {
      ++skipped_;
      std::printf("skipped %s (%s)\n", name_.c_str(), skip_reason->c_str());
    } else {
      ++passed_;
      std::printf("ok %s (%.2f s)\n", name_.c_str(), stats.seconds);
    }
    std::fflush(stdout);
  }
  void test_case_exception(const doctest::TestCaseException&) override { crashed_ = true; }

  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  // Left out by a filter on the command line: not part of this run.
  void test_case_skipped(const doctest::TestCaseData& data) override {
    const auto defect = defects.find(data.m_name);
    const std::string file = data.m_file.c_str();
    if (defect == defects.end() || file.find(wanted_file) == std::string::npos) return;
    ++skipped_;
    std::printf("skipped %s (known defect: %s)\n", data.m_name, defect->second.c_str());
  }

 private:
  std::string name_;
  bool crashed_ = false;
  int passed_ = 0, failed_ = 0, skipped_ = 0;
};

REGISTER_LISTENER("outcome", 1, Lines);

}  // namespace

void skip(std::string reason) {
  skip_reason = std::move(reason);
}

}  // namespace cloister::outcome

int main(int argc, char** argv) {
  doctest::Context context;
  context.setOption("no-colors", true);
  context.setOption("no-version", true);
  context.applyCommandLine(argc, argv);
  for (const auto& [name, reason] : cloister::outcome::defects) {
    std::string pattern = name;
    // A comma would end the pattern; a question mark matches one.
    std::replace(pattern.begin(), pattern.end(), ',', '?');
    context.addFilter("test-case-exclude", pattern.c_str());
  }
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--source-file=*"))
      cloister::outcome::wanted_file = argument.substr(argument.find('*') + 1);
  }
  return context.run();
}
