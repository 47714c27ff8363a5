// cloister(1).
#include <algorithm>
#include <cstdio>
#include <exception>

#include "exit_code.hpp"
#include "file.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

std::string usage() {
  std::string text =
      "usage: cloister [OPTIONS] VERB ...\n"
      "Runs processes in isolation. See cloister(1), and `cloister VERB --help`.\n\n";
  for (const VerbInfo& verb : verbs()) {
    std::string line = std::string("  ") + verb.name;
    line.resize(std::max<size_t>(line.size() + 1, 12), ' ');
    text += line + verb.summary + "\n";
  }
  const Group groups[] = {kServiceOptions};
  return text + describe(groups);
}

std::string usage(const VerbInfo& verb) {
  return std::string("usage: cloister ") + verb.name + " " + verb.synopsis + "\n" + verb.summary +
         "\n" + describe(groups_of(verb));
}

int carry_out(std::span<char* const> arguments) {
  const Group general[] = {kServiceOptions};
  CommandLine before = parse(arguments, general, Operands::end);
  if (before.has(Opt::version)) return print("cloister " CLOISTER_VERSION "\n"), 0;
  if (before.has(Opt::help)) return print(usage()), 0;
  if (before.operands.empty()) throw Trouble{"no verb given: `cloister --help` lists them"};

  const std::string_view name = before.operands[0];
  const auto all = verbs();
  const auto verb =
      std::find_if(all.begin(), all.end(), [&](const VerbInfo& each) { return name == each.name; });
  if (verb == all.end())
    throw Trouble{"unknown verb: " + std::string(name) + "; `cloister --help` lists them"};
  CommandLine line =
      parse(arguments.last(before.operands.size() - 1), groups_of(*verb), verb->operands);
  if (line.has(Opt::help)) return print(usage(*verb)), 0;
  if (line.has(Opt::version)) return print("cloister " CLOISTER_VERSION "\n"), 0;
  line.options.insert(line.options.begin(), before.options.begin(), before.options.end());
  return verb->carry_out(line);
}

}  // namespace
}  // namespace cloister::command

int main(int argc, char** argv) {
  using namespace cloister::command;
  try {
    return carry_out(std::span<char* const>(argv, static_cast<size_t>(argc)).subspan(argc > 0));
  } catch (const Trouble& trouble) {
    complain(trouble.text);
  } catch (const std::exception& error) {
    complain(std::string("internal error: ") + error.what());
  }
  return kFailed;
}
