// The options of run, start and plan; job.cpp maps them to a request.
#include "job.hpp"

namespace cloister::command {
namespace {

constexpr Option kProgram[] = {
    {Opt::request, 0, "request", "FILE|-", "a request in JSON; options override it"},
    {Opt::profile, 0, "profile", "NAME", "the profile that sets all else: default, none, ..."},
    {Opt::shell_line, 'c', "command", "LINE", "run a line of shell: sh -c LINE"},
    {Opt::name, 0, "name", "NAME", "a name for people"},
    {Opt::tag, 0, "tag", "KEY=VALUE",
     "to find the job by; may be repeated, as -e, --ro and others"},
    {Opt::env, 'e', "env", "NAME[=VALUE]", "set a variable, or pass the caller's"},
    {Opt::env_file, 0, "env-file", "FILE", "variables, one per line"},
    {Opt::env_all, 0, "env-all", nullptr, "pass the caller's whole environment"},
    {Opt::stdin_, 0, "stdin", "FILE|-|null", "its stdin; - is the command's own"},
    {Opt::stdout_, 0, "stdout", "FILE|-|null", "its stdout"},
    {Opt::stderr_, 0, "stderr", "FILE|-|null|stdout", "its stderr"},
    {Opt::log, 0, "log", "FILE", "its stdout and stderr, both into one file"},
    {Opt::pass_fd, 0, "pass-fd", "N",
     "send descriptor N; the request calls it passed_fd 0, 1, ..."},
};
constexpr Option kBox[] = {
    {Opt::workspace, 0, "workspace", "DIR|none", "the directory it may write; default: this one"},
    {Opt::cwd, 'w', "cwd", "DIR", "where it starts; default: here if inside the workspace"},
    {Opt::ro, 0, "ro", "SRC[:AT]", "bind a path, read-only"},
    {Opt::rw, 0, "rw", "SRC[:AT]", "bind a path, writable"},
    {Opt::tmpfs, 0, "tmpfs", "AT[:SIZE]", "an empty file system in memory"},
    {Opt::scratch, 0, "scratch", "AT", "an empty directory on disk, gone with the job"},
    {Opt::device, 0, "device", "PATH", "a device of the host, below /dev"},
    {Opt::root, 0, "root", "DIR|empty", "another root directory"},
    {Opt::root_access, 0, "root-access", "ro|rw|overlay", "overlay: writable, gone with the job"},
    {Opt::secret, 0, "secret", "NAME=FILE", "/run/secrets/NAME with the file's content"},
    {Opt::net, 0, "net", "none|host|outbound", "its network"},
    {Opt::publish, 0, "publish", "[[ADDRESS:]HOST_PORT:]PORT[/udp]",
     "forward a port of the host to the job; makes the network outbound"},
    {Opt::seccomp, 0, "seccomp", "FILE|default|none", "its filter; a file may be an OCI profile"},
    {Opt::hostname, 0, "hostname", "NAME", "its host name"},
    {Opt::as, 'u', "as", "USER|UID:GID", "the ids it runs with; default: the caller's"},
};
constexpr Option kLimits[] = {
    {Opt::wall_time, 0, "wall-time", "TIME", "how long it may run: 30s, 5m; then it is stopped"},
    {Opt::wall_time, 0, "timeout", "TIME", "the same as --wall-time"},
    {Opt::memory, 0, "memory", "SIZE", "how much memory it may have: 512M"},
    {Opt::swap, 0, "swap", "SIZE", "how much swap beside that; needs --memory"},
    {Opt::pids, 0, "pids", "N", "how many processes and threads"},
    {Opt::cpus, 0, "cpus", "N", "how many processors' worth of time: 0.5, 2"},
    {Opt::cpu_time, 0, "cpu-time", "TIME", "how much processor time all its processes may take"},
    {Opt::max_output, 0, "max-output", "SIZE",
     "how much it may write to stdout, and to stderr: 10M; then it is stopped"},
};
constexpr Option kAttributes[] = {
    {Opt::rlimit, 0, "rlimit", "NAME=SOFT[:HARD]", "a resource limit: nofile=1024, core=unlimited"},
    {Opt::nice, 0, "nice", "N", "its nice value"},
    {Opt::cpus_list, 0, "cpus-list", "LIST", "the processors it may run on: 0-3,8"},
    {Opt::umask, 0, "umask", "MODE", "its umask, octal"},
    {Opt::setsid, 0, "setsid", nullptr, "lead a session of its own"},
    {Opt::stop_signal, 0, "stop-signal", "SIGNAL", "how to stop it; default: SIGTERM"},
    {Opt::stop_timeout, 0, "stop-timeout", "TIME", "from the stop signal to SIGKILL: 5s, 250ms"},
    {Opt::on_disconnect, 0, "on-disconnect", "kill|stop|keep",
     "what happens to it when this command ends first"},
    {Opt::idempotency_key, 0, "idempotency-key", "KEY", "the same key and request: the same job"},
    {Opt::unset, 0, "unset", "FIELD", "remove what the profile sets: env.CI, mounts./srv"},
    {Opt::best_effort, 0, "best-effort", "FIELD",
     "a field that may be left out where it is unsupported"},
};

}  // namespace

std::span<const Group> job_options() {
  static constexpr Group kGroups[] = {{"The program", kProgram},
                                      {"Its sandbox", kBox},
                                      {"Its limits", kLimits},
                                      {"Its attributes", kAttributes}};
  return kGroups;
}

}  // namespace cloister::command
