// The table of verbs and the options that are theirs alone.
#include "verbs.hpp"

#include "job.hpp"

namespace cloister::command {
namespace {

constexpr Option kService[] = {
    {Opt::system, 0, "system", nullptr, "the system's service, /run/cloister/socket"},
    {Opt::user, 0, "user", nullptr, "the caller's own service, $XDG_RUNTIME_DIR/cloister/socket"},
    {Opt::private_, 0, "private", nullptr, "start a service for this command only"},
    {Opt::socket, 0, "socket", "PATH", "the service at a socket; also CLOISTER_SOCKET"},
    {Opt::cloisterd, 0, "cloisterd", "PATH", "the program that --private starts"},
    {Opt::help, 'h', "help", nullptr, "this text"},
    {Opt::version, 0, "version", nullptr, "the version of this command"},
};
// Of verbs about the system's service, where --user names a user.
constexpr Option kRootService[] = {
    {Opt::system, 0, "system", nullptr, "the system's service; the default here"},
    {Opt::socket, 0, "socket", "PATH", "the service at a socket; also CLOISTER_SOCKET"},
    {Opt::help, 'h', "help", nullptr, "this text"},
    {Opt::version, 0, "version", nullptr, "the version of this command"},
};
constexpr Group kRootServiceOptions = {"The service", kRootService};
constexpr Option kRun[] = {
    {Opt::tty, 't', "tty", nullptr, "give it a terminal, relayed to this one"},
    {Opt::quiet, 'q', "quiet", nullptr, "print no line about its end"},
    {Opt::verdict_file, 0, "verdict-file", "FILE", "write the verdict there, as JSON"},
    {Opt::verdict_fd, 0, "verdict-fd", "N", "write the verdict to descriptor N"},
    {Opt::propagate_signal, 0, "propagate-signal", nullptr, "die of the signal that ended the job"},
};
constexpr Option kPlan[] = {
    {Opt::tty, 't', "tty", nullptr, "with a terminal, as run -t"},
    {Opt::json, 0, "json", nullptr, "JSON, for programs"},
};
constexpr Option kJson[] = {{Opt::json, 0, "json", nullptr, "JSON, for programs"}};
constexpr Option kPolicy[] = {
    {Opt::of_user, 0, "user", "NAME", "as if this user asked; only root can name another user"},
    {Opt::json, 0, "json", nullptr, "JSON, for programs"},
};
constexpr Option kLogs[] = {
    {Opt::follow, 'f', "follow", nullptr, "go on until the job has ended"},
    {Opt::tail, 0, "tail", "N", "the last N lines of each stream alone"},
    {Opt::stdout_, 0, "stdout", nullptr, "its stdout alone"},
    {Opt::stderr_, 0, "stderr", nullptr, "its stderr alone"},
    {Opt::json, 0, "json", nullptr, "JSON, for programs; data is Base64"},
};
constexpr Option kWait[] = {
    {Opt::tag, 0, "tag", "KEY=VALUE", "the first job with this tag"},
    {Opt::pgid, 0, "pgid", "N", "the first job of this process group"},
    {Opt::all, 0, "all", nullptr, "the first of all jobs of the caller"},
    {Opt::stopped, 0, "stopped", nullptr, "report stops too (WSTOPPED)"},
    {Opt::continued, 0, "continued", nullptr, "report continuing too (WCONTINUED)"},
    {Opt::no_hang, 0, "no-hang", nullptr,
     "do not wait; exit with 75 if there is nothing to report"},
    {Opt::keep, 0, "keep", nullptr, "leave it to be waited for again (WNOWAIT)"},
    {Opt::quiet, 'q', "quiet", nullptr, "print no line about its end"},
    {Opt::verdict_file, 0, "verdict-file", "FILE", "write the verdict there, as JSON"},
    {Opt::verdict_fd, 0, "verdict-fd", "N", "write the verdict to descriptor N"},
    {Opt::json, 0, "json", nullptr, "JSON, for programs"},
};
constexpr Option kKill[] = {
    {Opt::signal, 's', "signal", "SIGNAL", "which, by name or number; default: SIGTERM"},
    {Opt::group, 0, "group", nullptr, "to the process group of its main process"},
    {Opt::all, 0, "all", nullptr, "to each of its processes"},
};
constexpr Option kStop[] = {
    {Opt::timeout, 0, "timeout", "TIME", "the grace time before SIGKILL: 5s, 250ms"},
    {Opt::quiet, 'q', "quiet", nullptr, "print no line about its end"},
    {Opt::json, 0, "json", nullptr, "the verdict, as JSON"},
};
constexpr Option kRm[] = {{Opt::all, 0, "all", nullptr, "all ended jobs"}};
constexpr Option kPs[] = {
    {Opt::all, 'a', "all", nullptr, "ended jobs too"},
    {Opt::tag, 0, "tag", "KEY=VALUE", "jobs with a tag"},
    {Opt::state, 0, "state", "STATE", "preparing, running, stopped or ended"},
    {Opt::quiet, 'q', "quiet", nullptr, "ids only"},
    {Opt::json, 0, "json", nullptr, "JSON, for programs"},
};

constexpr VerbInfo kVerbs[] = {
    {"run",
     "[OPTIONS] [--] PROGRAM [ARGUMENT...]",
     "run a job, relay signals to it, exit with its code",
     {"This command", kRun},
     Operands::end,
     true,
     run},
    {"start",
     "[OPTIONS] [--] PROGRAM [ARGUMENT...]",
     "start a job in the background; prints its id",
     {"This command", kJson},
     Operands::end,
     true,
     start},
    {"logs",
     "[OPTIONS] ID",
     "show what a job wrote to its captured stdout and stderr",
     {"Options", kLogs},
     Operands::anywhere,
     false,
     logs},
    {"wait",
     "[OPTIONS] ID",
     "wait for a job; exits with its code",
     {"Options", kWait},
     Operands::anywhere,
     false,
     wait},
    {"kill",
     "[OPTIONS] ID...",
     "send a signal",
     {"Options", kKill},
     Operands::anywhere,
     false,
     kill},
    {"stop",
     "[OPTIONS] ID...",
     "end jobs: stop signal, grace time, SIGKILL",
     {"Options", kStop},
     Operands::anywhere,
     false,
     stop},
    {"rm",
     "[OPTIONS] ID...",
     "forget ended jobs and their verdicts",
     {"Options", kRm},
     Operands::anywhere,
     false,
     rm},
    {"ps", "[OPTIONS]", "list the caller's jobs", {"Options", kPs}, Operands::anywhere, false, ps},
    {"inspect",
     "[OPTIONS] ID...",
     "show a job, its request and its verdict",
     {"Options", kJson},
     Operands::anywhere,
     false,
     inspect},
    {"plan",
     "[OPTIONS] [--] PROGRAM [ARGUMENT...]",
     "show what run would do, and launch nothing",
     {"This command", kPlan},
     Operands::end,
     true,
     plan},
    {"profile",
     "list|show NAME|check FILE... [OPTIONS]",
     "list the profiles, show what one sets, or check a file",
     {"Options", kJson},
     Operands::anywhere,
     false,
     profile},
    {"policy",
     "explain [--user NAME] REQUEST|- [OPTIONS]",
     "show what the administrator's rules say to a request",
     {"Options", kPolicy},
     Operands::anywhere,
     false,
     policy,
     &kRootServiceOptions},
    {"info",
     "[OPTIONS]",
     "show the service that answers, and what works here",
     {"Options", kJson},
     Operands::anywhere,
     false,
     info},
};

}  // namespace

const Group kServiceOptions = {"The service", kService};

std::span<const VerbInfo> verbs() { return kVerbs; }

std::vector<Group> groups_of(const VerbInfo& verb) {
  std::vector<Group> groups = {verb.own};
  const auto launching = job_options();
  if (verb.launches) groups.insert(groups.end(), launching.begin(), launching.end());
  groups.push_back(verb.service ? *verb.service : kServiceOptions);
  return groups;
}

}  // namespace cloister::command
