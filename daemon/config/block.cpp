// The Config as a policy block.
#include <algorithm>

#include "config_files.hpp"
#include "plan/builder.hpp"

namespace cloister::config {
namespace {

using Builder = plan::BlockBuilder<plan::PolicyHeader>;

// A text of a block ends at its first NUL, and has one at its end.
plan::Text told(Builder& block, std::string text) {
  text.resize(std::min<size_t>(text.size(), plan::kMaxPolicyText - 1));
  std::replace(text.begin(), text.end(), '\0', '?');
  return block.text(text);
}

plan::RuleRow row_of(Builder& block, const Rule& rule) {
  plan::RuleRow row = rule.row;
  row.users = block.span(rule.users);
  row.groups = block.span(rule.groups);
  row.uids = block.span(rule.uids);
  row.gids = block.span(rule.gids);
  row.devices = block.span(rule.devices);
  return row;
}

}  // namespace

std::string block_of(const Config& config, const Misconfiguration& wrong) {
  Builder block;
  block->magic = plan::kPolicyMagic;
  block->version = plan::kPolicyVersion;
  block->wrong_file = told(block, wrong.file);
  block->wrong_place = told(block, wrong.place);
  block->wrong_reason = told(block, wrong.reason);
  block->settings = config.settings;
  block->pasta = block.text(config.pasta);
  block->scratch = block.text(config.scratch);
  block->quota = config.quota;
  std::vector<plan::RuleRow> rows;
  rows.reserve(config.rules.size());
  for (const Rule& rule : config.rules) rows.push_back(row_of(block, rule));
  block->rules = block.span(rows);
  block->subuids = block.span(config.subuids);
  block->subgids = block.span(config.subgids);
  return block.finish();
}

}  // namespace cloister::config
