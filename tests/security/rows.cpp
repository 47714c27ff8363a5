#include "rows.hpp"

#include <cstdio>
#include <map>
#include <vector>

namespace cloister::security_test {
namespace {

struct Row {
  int cases = 0, failed = 0, skipped = 0;
  std::vector<std::string> remarks;
};

std::map<std::string, Row> rows;
std::string current;
bool skipped = false;

// "API-01" of "API-01 duplicate keys ..."; empty when the case is no row's.
std::string row_of(const std::string& name) {
  std::string word = name.substr(0, name.find(' '));
  // "S3: no set-uid file ...", "U6: a reload ..."
  if (word.size() > 2 && (word[0] == 'S' || word[0] == 'U') && word.back() == ':' &&
      word.find_first_not_of("0123456789", 1) == word.size() - 1) {
    word.pop_back();
    return word;
  }
  const size_t dash = word.find('-');
  if (dash == word.npos || dash == 0 || dash + 1 == word.size()) return {};
  for (size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    const bool fits = i < dash ? c >= 'A' && c <= 'Z' : i == dash || (c >= '0' && c <= '9');
    if (!fits) return {};
  }
  return word;
}

class Table : public doctest::IReporter {
 public:
  explicit Table(const doctest::ContextOptions&) {}

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {
    int passed = 0, failed = 0, none = 0;
    for (const auto& [name, row] : rows) {
      const bool ran = row.skipped < row.cases;
      const char* word = row.failed ? "failed" : ran ? "passed" : "not run";
      ++(row.failed ? failed : ran ? passed : none);
      std::printf("row %-8s %-7s", name.c_str(), word);
      for (const auto& remark : row.remarks) std::printf("  %s", remark.c_str());
      std::printf("\n");
    }
    std::printf("rows: %d run, %d passed, %d failed, %d not run\n", passed + failed, passed, failed,
                none);
    std::fflush(stdout);
  }
  void test_case_start(const doctest::TestCaseData& data) override {
    current = row_of(data.m_name);
    skipped = crashed_ = false;
  }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    if (current.empty()) return;
    Row& row = rows[current];
    ++row.cases;
    const bool failed = crashed_ || stats.failure_flags != 0;
    row.failed += failed;
    row.skipped += skipped && !failed;
  }
  void test_case_exception(const doctest::TestCaseException&) override { crashed_ = true; }
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  bool crashed_ = false;
};

REGISTER_LISTENER("rows", 2, Table);

}  // namespace

void not_run(const std::string& reason) {
  auto& remarks = rows[current].remarks;
  if (remarks.empty() || remarks.back() != reason) remarks.push_back(reason);
  if (reason.starts_with("not run: ")) skipped = true;
}

}  // namespace cloister::security_test
