#include "options.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace cloister::command {
namespace {

// Levenshtein's distance, for the option that was probably meant.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); i++) {
    size_t corner = std::exchange(row[0], i + 1);
    for (size_t k = 0; k < b.size(); k++) {
      const size_t replaced = corner + (a[i] != b[k]);
      corner = row[k + 1];
      row[k + 1] = std::min({replaced, corner + 1, row[k] + 1});
    }
  }
  return row.back();
}

[[noreturn]] void unknown(std::string_view name, std::span<const Group> groups) {
  std::string text = "unknown option: --" + std::string(name);
  size_t least = 3;
  const char* meant = nullptr;
  for (const Group& group : groups)
    for (const Option& option : group.options)
      if (const size_t apart = distance(name, option.name); apart < least)
        least = apart, meant = option.name;
  if (meant != nullptr) text += std::string("; did you mean --") + meant + "?";
  throw Trouble{std::move(text)};
}

template <class Predicate>
const Option* find(std::span<const Group> groups, Predicate predicate) {
  for (const Group& group : groups)
    for (const Option& option : group.options)
      if (predicate(option)) return &option;
  return nullptr;
}

class Parser {
 public:
  Parser(std::span<char* const> arguments, std::span<const Group> groups)
      : arguments_(arguments), groups_(groups) {}

  CommandLine parse(Operands operands) {
    for (; at_ < arguments_.size(); at_++) {
      const std::string_view argument = arguments_[at_];
      if (argument == "--") {
        at_++;
        break;
      }
      if (argument.starts_with("--")) {
        long_option(argument.substr(2));
      } else if (argument.size() > 1 && argument[0] == '-') {
        letters(argument.substr(1));
      } else if (operands == Operands::end) {
        break;
      } else {
        line_.operands.push_back(argument);
      }
    }
    for (; at_ < arguments_.size(); at_++) line_.operands.push_back(arguments_[at_]);
    return std::move(line_);
  }

 private:
  void long_option(std::string_view text) {
    const size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const Option* option = find(groups_, [&](const Option& each) { return name == each.name; });
    if (option == nullptr) unknown(name, groups_);
    const std::string shown = "--" + std::string(name);
    if (equals == std::string_view::npos) return add(*option, shown);
    if (option->value == nullptr) throw Trouble{shown + " takes no value"};
    line_.options.push_back({option->id, text.substr(equals + 1)});
  }

  void letters(std::string_view text) {
    while (!text.empty()) {
      const char letter = text[0];
      text.remove_prefix(1);
      const Option* option =
          find(groups_, [&](const Option& each) { return letter == each.letter; });
      const std::string shown = std::string("-") + letter;
      if (option == nullptr) throw Trouble{"unknown option: " + shown};
      if (option->value == nullptr || text.empty()) {
        add(*option, shown);
      } else {
        line_.options.push_back({option->id, text});
        return;
      }
    }
  }

  void add(const Option& option, const std::string& shown) {
    if (option.value == nullptr) return line_.options.push_back({option.id, {}});
    if (at_ + 1 == arguments_.size()) throw Trouble{shown + " needs a value: " + option.value};
    line_.options.push_back({option.id, arguments_[++at_]});
  }

  std::span<char* const> arguments_;
  std::span<const Group> groups_;
  size_t at_ = 0;
  CommandLine line_;
};

}  // namespace

bool CommandLine::has(Opt id) const {
  return std::any_of(options.begin(), options.end(),
                     [&](const Given& given) { return given.id == id; });
}

std::string_view CommandLine::value(Opt id, std::string_view otherwise) const {
  const auto last = std::find_if(options.rbegin(), options.rend(),
                                 [&](const Given& given) { return given.id == id; });
  return last == options.rend() ? otherwise : last->value;
}

CommandLine parse(std::span<char* const> arguments, std::span<const Group> groups,
                  Operands operands) {
  return Parser(arguments, groups).parse(operands);
}

std::pair<std::string, std::string> key_and_value(std::string_view text, const char* option) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw Trouble{std::string(option) + ": \"" + std::string(text) + "\" is not KEY=VALUE"};
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::string describe(std::span<const Group> groups) {
  constexpr size_t kHelpColumn = 30;
  std::string text;
  for (const Group& group : groups) {
    text += std::string("\n") + group.title + ":\n";
    for (const Option& option : group.options) {
      std::string line = "  ";
      if (option.letter != 0) {
        line += '-';
        line += option.letter;
        line += ", ";
      }
      line += std::string("--") + option.name;
      if (option.value != nullptr) line += std::string(" ") + option.value;
      if (line.size() + 2 > kHelpColumn)
        line += "\n" + std::string(kHelpColumn, ' ');
      else
        line.resize(kHelpColumn, ' ');
      text += line + option.help + "\n";
    }
  }
  return text;
}

}  // namespace cloister::command
