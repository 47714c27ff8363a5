// Why root's word cannot be followed, and where that stands. A service with one
// serves nobody and tells everybody.
#pragma once

#include <string>

namespace cloister::plan {

struct Misconfiguration {
  std::string file;    // empty: of no file
  std::string place;   // a member such as "rules[0].allow.nice", or a line; empty: the whole file
  std::string reason;  // empty: nothing is wrong

  explicit operator bool() const { return !reason.empty(); }
  // FILE: PLACE: REASON
  std::string text() const {
    std::string text;
    for (const std::string& part : {file, place})
      if (!part.empty()) text += part + ": ";
    return text + reason;
  }
};

}  // namespace cloister::plan
