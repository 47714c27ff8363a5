#include "exit_code.hpp"

#include <sysexits.h>

#include <cstdio>

#include "table.hpp"

namespace cloister::command {

const char* exit_code_name(int code) {
  switch (code) {
    case EX_USAGE: return "EX_USAGE";
    case EX_DATAERR: return "EX_DATAERR";
    case EX_NOINPUT: return "EX_NOINPUT";
    case EX_NOUSER: return "EX_NOUSER";
    case EX_NOHOST: return "EX_NOHOST";
    case EX_UNAVAILABLE: return "EX_UNAVAILABLE";
    case EX_SOFTWARE: return "EX_SOFTWARE";
    case EX_OSERR: return "EX_OSERR";
    case EX_OSFILE: return "EX_OSFILE";
    case EX_CANTCREAT: return "EX_CANTCREAT";
    case EX_IOERR: return "EX_IOERR";
    case EX_TEMPFAIL: return "EX_TEMPFAIL";
    case EX_PROTOCOL: return "EX_PROTOCOL";
    case EX_NOPERM: return "EX_NOPERM";
    case EX_CONFIG: return "EX_CONFIG";
    default: return "";
  }
}

std::string line_of(const Verdict& verdict) {
  std::string line = verdict.summary();
  if (verdict.ending != Ending::exited || !verdict.exit_code) return line;
  const std::string head = "exited with " + std::to_string(*verdict.exit_code);
  const std::string name = exit_code_name(*verdict.exit_code);
  if (!name.empty() && line.starts_with(head)) line.insert(head.size(), " (" + name + ")");
  return line;
}

Verdict not_started(std::string why, Cause cause, Fault fault) {
  Verdict verdict;
  verdict.id = "-";  // readers insist on one
  verdict.ending = Ending::not_started;
  verdict.cause = cause;
  verdict.fault = fault;
  verdict.failure.emplace();
  verdict.failure->stage = "request";
  verdict.failure->message = std::move(why);
  return verdict;
}

Verdict verdict_of(const Error& error, Mode mode) {
  const Fault fault = error.is("InvalidRequest")                    ? Fault::request
                      : error.is("Denied")                          ? Fault::policy
                      : error.is("Unsupported") || error.is("Busy") ? Fault::host
                      : error.is("Misconfigured")                   ? Fault::operator_
                                                                    : Fault::cloister;
  Verdict verdict = not_started(error.message(), Cause::cloister, fault);
  verdict.mode = mode;
  if (auto failure = error.failure()) {
    verdict.failure = std::move(failure);
  } else {
    verdict.failure->step = error.name;
    verdict.failure->field = error.field("field");
  }
  return verdict;
}

void complain(const std::string& text) {
  std::fprintf(stderr, "cloister: %s\n", printable(text).c_str());
}

}  // namespace cloister::command
