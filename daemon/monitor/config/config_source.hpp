// ConfigSource: where the configuration of this service is, and what is made of
// it at its start and at a reload. For no request.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>

#include "config/config.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

class ConfigSource {
 public:
  // `program`: cloister-config. `told`: by --config, or empty. `of_root`: the service
  // of root, for everybody. `standard`: whether the file in /etc counts.
  ConfigSource(boost::asio::io_context& io, sys::UniqueFd program, std::string told, bool of_root,
               bool standard)
      : io_(io),
        program_(std::move(program)),
        told_(std::move(told)),
        of_root_(of_root),
        standard_(standard) {}

  // Where the file is; empty: there is none, and that is no fault.
  std::string path() const;
  // What the service starts with: as it is read, or a Config that has a `wrong`.
  // Reading begins in this call, `done` comes from the event loop.
  void first(std::function<void(Config)> done);
  // The same. Runs the event loop until then; nothing else may be in it yet.
  Config first();
  // What holds where there is no file, but for subordinate ids.
  static Config of_no_file();
  // At a reload: what holds instead of `now`. All or nothing: with a `wrong`,
  // `now` goes on to hold. A file that no longer exists is a `wrong` too.
  void again(const Config& now, std::function<void(Config)> done);

 private:
  void read(std::function<void(Config)> done);

  boost::asio::io_context& io_;
  sys::UniqueFd program_;
  std::string told_;
  bool of_root_, standard_;
  bool found_ = false;  // there was a file
};

}  // namespace cloister::monitor
