#include "service.hpp"

#include <limits.h>
#include <unistd.h>

#include <string>

namespace cloister::command {
namespace {

// Beside us, as in a build folder; else where it was installed; else the
// library looks for it.
std::string cloisterd(const CommandLine& line) {
  if (line.has(Opt::cloisterd)) return std::string(line.value(Opt::cloisterd));
  char self[PATH_MAX];
  const ssize_t size = ::readlink("/proc/self/exe", self, sizeof self);
  if (size > 0) {
    std::string path(self, static_cast<size_t>(size));
    path = path.substr(0, path.rfind('/') + 1) + "cloisterd";
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  const char* const installed = CLOISTER_SBINDIR "/cloisterd";
  return ::access(installed, X_OK) == 0 ? installed : "";
}

}  // namespace

Result<Client> connect(const CommandLine& line, Service otherwise) {
  ConnectOptions options;
  options.service = otherwise;
  int named = 0;
  const auto name = [&](Opt option, Service service) {
    if (!line.has(option)) return;
    options.service = service;
    named++;
  };
  name(Opt::system, Service::system);
  name(Opt::user, Service::user);
  name(Opt::private_, Service::private_);
  if (named + line.has(Opt::socket) > 1)
    throw Trouble{"--system, --user, --private and --socket exclude each other"};
  options.socket = line.value(Opt::socket);
  if (line.has(Opt::socket) && options.socket.empty()) throw Trouble{"--socket: the path is empty"};
  options.cloisterd = cloisterd(line);
  return Client::connect(options);
}

Client connect_to_jobs(const CommandLine& line) {
  auto client = connect(line);
  if (!client) give_up(client.error());
  const auto mode = client->mode();
  if (!mode) give_up(mode.error());
  if (*mode == Mode::private_)
    throw Trouble{
        "no service runs here, and a private one knows only the jobs of its own command; "
        "see cloisterd(8) for how to start one"};
  return *std::move(client);
}

void give_up(const Error& error) { throw Trouble{error.message()}; }

}  // namespace cloister::command
