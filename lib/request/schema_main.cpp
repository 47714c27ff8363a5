// Prints the JSON Schema of a request; config/meson.build installs its output.
#include <cstdio>

#include "schema.hpp"

int main() {
  const std::string text = cloister::request::schema();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0
             ? 0
             : 1;
}
