#define DOCTEST_CONFIG_IMPLEMENT
#include "outcome.hpp"

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

namespace cloister::outcome {
namespace {

std::optional<std::string> skip_reason;

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
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  std::string name_;
  bool crashed_ = false;
  int passed_ = 0, failed_ = 0, skipped_ = 0;
};

REGISTER_LISTENER("outcome", 1, Lines);

}  // namespace

void skip(std::string reason) { skip_reason = std::move(reason); }

}  // namespace cloister::outcome

int main(int argc, char** argv) {
  doctest::Context context;
  context.setOption("no-colors", true);
  context.setOption("no-version", true);
  context.applyCommandLine(argc, argv);
  return context.run();
}
