// Which service the command talks to.
#pragma once

#include "cloister/client.hpp"
#include "options.hpp"

namespace cloister::command {

// As --system, --user, --private, --socket and CLOISTER_SOCKET say.
// Without any of them `otherwise`.
Result<Client> connect(const CommandLine& line, Service otherwise = Service::automatic);

// For verbs about jobs that another command started: a private service, which
// could not know any, throws Trouble, as does having no service.
Client connect_to_jobs(const CommandLine& line);

[[noreturn]] void give_up(const Error& error);  // throws Trouble

}  // namespace cloister::command
