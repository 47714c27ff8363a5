// Why a call failed, as a value. `value()` of a Result that holds an Error
// throws Exception.
#pragma once

#include <boost/system/result.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "cloister/verdict.hpp"

namespace cloister {

struct Error {
  Error() = default;  // boost::system::result wants one
  // Two arguments, so that a lone string never counts as an Error.
  Error(std::string error_name, std::string error_parameters)
      : name(std::move(error_name)), parameters(std::move(error_parameters)) {}

  // "io.cloister.Launcher.Denied", "org.varlink.service.InvalidParameter", ...,
  // or one of our own: local.Unreachable (no service answered), local.Transport
  // (the connection broke), local.Protocol (the service sent what we cannot read).
  std::string name;
  std::string parameters;  // JSON text of the error's fields

  // One line for a person: what failed, on which field, why, what to do.
  std::string message() const;

  // A string field of `parameters`; empty if it has none of that name.
  std::string field(const char* name) const;

  // Of io.cloister.Launcher.LaunchFailed.
  std::optional<Failure> failure() const;

  bool is(std::string_view short_name) const;  // "Denied", "NoSuchJob", ...
};

template <class T>
using Result = boost::system::result<T, Error>;

class Exception : public std::runtime_error {
 public:
  explicit Exception(Error error);
  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

// boost::system::result finds it for value().
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location&);

}  // namespace cloister
