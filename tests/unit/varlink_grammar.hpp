// A recogniser for Varlink interface definitions, by the published grammar
// (varlink.org, "Interface Definition"). For tests: what it accepts, other
// Varlink implementations parse.
#pragma once

#include <cctype>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace grammar {

struct Interface {
  std::string name;
  std::set<std::string> types, methods, errors;
  std::set<std::string> referenced;  // type names in use
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::optional<Interface> parse(std::string& why) {
    const bool good = interface();
    if (good) return interface_;
    why = "at byte " + std::to_string(at_) + ": " + std::string(text_.substr(at_, 40));
    return {};
  }

 private:
  bool interface() {
    blank();
    if (!keyword("interface") || !interface_name()) return false;
    size_t members = 0;
    for (blank(); at_ < text_.size(); blank(), members++)
      if (!member()) return false;
    return members > 0;
  }

  bool member() {
    std::string name;
    if (keyword("type")) {
      if (!type_name(name)) return false;
      blank();
      return interface_.types.insert(name).second && structure_or_enum();
    }
    if (keyword("method")) {
      if (!type_name(name)) return false;
      blank();
      if (!interface_.methods.insert(name).second || !structure()) return false;
      blank();
      if (!take("->")) return false;
      blank();
      return structure();
    }
    if (keyword("error")) {
      if (!type_name(name)) return false;
      blank();
      return interface_.errors.insert(name).second && structure();
    }
    return false;
  }

  // (a: type, ...)
  bool structure() {
    const size_t begin = at_;
    bool is_enum = false;
    if (!parenthesised(is_enum)) return false;
    if (is_enum) at_ = begin;
    return !is_enum;
  }
  bool structure_or_enum() {
    bool is_enum = false;
    return parenthesised(is_enum);
  }

  bool parenthesised(bool& is_enum) {
    if (!take("(")) return false;
    std::set<std::string> names;
    blank();
    if (take(")")) return true;
    for (bool first = true;; first = false) {
      std::string name;
      blank();
      if (!field_name(name) || !names.insert(name).second) return false;
      blank();
      const bool typed = take(":");
      if (first) is_enum = !typed;
      if (typed == is_enum) return false;
      if (typed) {
        blank();
        if (!type()) return false;
        blank();
      }
      if (take(")")) return true;
      if (!take(",")) return false;
    }
  }

  // Maybe does not nest directly; arrays and dictionaries do.
  bool type() {
    if (take("?")) return !peek('?') && type();
    if (take("[string]") || take("[]")) return type();
    if (peek('(')) return structure_or_enum();
    for (const char* simple : {"bool", "int", "float", "string", "object"})
      if (word(simple)) return true;
    std::string name;
    if (!type_name(name)) return false;
    interface_.referenced.insert(name);
    return true;
  }

  // [A-Za-z]([-]*[A-Za-z0-9])*(\.[A-Za-z0-9]([-]*[A-Za-z0-9])*)+
  bool interface_name() {
    const size_t begin = at_;
    while (at_ < text_.size() && (alnum() || peek('.') || peek('-'))) at_++;
    interface_.name = text_.substr(begin, at_ - begin);
    const std::string& name = interface_.name;
    return name.find('.') != std::string::npos && std::isalpha(name.front()) != 0 &&
           std::isalnum(name.back()) != 0 && name.find("..") == std::string::npos &&
           name.find(".-") == std::string::npos && name.find("-.") == std::string::npos;
  }

  // [A-Z][A-Za-z0-9]*
  bool type_name(std::string& name) {
    const size_t begin = at_;
    if (at_ >= text_.size() || std::isupper(byte()) == 0) return false;
    while (at_ < text_.size() && alnum()) at_++;
    name = text_.substr(begin, at_ - begin);
    return true;
  }

  // [A-Za-z]([_]?[A-Za-z0-9])*
  bool field_name(std::string& name) {
    const size_t begin = at_;
    if (at_ >= text_.size() || std::isalpha(byte()) == 0) return false;
    while (at_ < text_.size() && (alnum() || peek('_'))) at_++;
    name = text_.substr(begin, at_ - begin);
    return name.back() != '_' && name.find("__") == std::string::npos;
  }

  // White space, and comments to the end of the line.
  bool blank() {
    const size_t begin = at_;
    while (at_ < text_.size()) {
      if (std::isspace(byte()) != 0) {
        at_++;
      } else if (peek('#')) {
        while (at_ < text_.size() && !peek('\n')) at_++;
      } else {
        break;
      }
    }
    return at_ > begin;
  }

  bool keyword(std::string_view name) { return take(name) && blank(); }
  bool word(std::string_view name) {
    const size_t begin = at_;
    if (take(name) && (at_ == text_.size() || (!alnum() && !peek('_')))) return true;
    at_ = begin;
    return false;
  }
  bool take(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  unsigned char byte() const { return static_cast<unsigned char>(text_[at_]); }
  bool alnum() const { return std::isalnum(byte()) != 0; }
  bool peek(char c) const { return at_ < text_.size() && text_[at_] == c; }

  std::string_view text_;
  size_t at_ = 0;
  Interface interface_;
};

inline std::optional<Interface> parse(std::string_view text, std::string& why) {
  return Parser(text).parse(why);
}

}  // namespace grammar
