#include "job.hpp"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "environment.hpp"
#include "file.hpp"
#include "option_values.hpp"
#include "request/layers.hpp"
#include "sys/names.hpp"

namespace cloister::command {
namespace {

using request::json;

// As text, for the reader of texts: documents made here hold what none that was
// parsed can, such as numbers of other types and strings that are not UTF-8.
std::string text_of(const json& document) {
  try {
    return document.dump();
  } catch (const json::type_error&) {
    throw Trouble{
        "a name, a word or a tag is not UTF-8; only arguments, values of variables and "
        "paths may be other bytes"};
  }
}

class Mapping {
 public:
  Mapping(const CommandLine& line, Verb verb, const Surroundings& around)
      : line_(line), verb_(verb), around_(around) {}

  Job map() {
    read_request();
    note("--request " + std::string(line_.value(Opt::request)));
    for (const auto& [id, value] : line_.options) {
      apply(id, value);
      note(name_of(id));
    }
    set_argv();
    note("the command line");
    set_asked_env();
    note("-e, --env-file");
    set_implied_env();
    note(kCaller);
    set_streams();
    set_implied_workspace();
    set_implied_of_none();
    note(kCaller);
    return finish();
  }

 private:
  static constexpr const char* kCaller = "caller";

  static std::string name_of(Opt id) {
    for (const Group& group : job_options())
      for (const Option& option : group.options)
        if (option.id == id) return std::string("--") + option.name;
    return kCaller;
  }

  // What has changed since the last note came from `source`.
  void note(const std::string& source) {
    if (verb_ != Verb::plan || document_ == noted_) return;
    const std::function<void(const json*, const json&, const std::string&)> walk =
        [&](const json* before, const json& now, const std::string& path) {
          if (before && *before == now) return;
          if (path != "argv" && now.is_object() && !now.empty())
            for (const auto& [key, value] : now.items()) {
              const bool old = before && before->is_object() && before->contains(key);
              walk(old ? &(*before)[key] : nullptr, value, path.empty() ? key : path + '.' + key);
            }
          else if (path == "mounts" && now.is_array())
            for (const json& mount : now) {
              const bool old =
                  before && std::find(before->begin(), before->end(), mount) != before->end();
              if (!old && mount.contains("at") && mount["at"].is_string())
                job_.said["mounts." +
                          request::normal_path(mount["at"].get_ref<const std::string&>())] = source;
            }
          else
            job_.said[path] = source;
        };
    walk(&noted_, document_, "");
    noted_ = document_;
  }

  void read_request() {
    if (!line_.has(Opt::request)) return;
    const std::string path(line_.value(Opt::request));
    const std::string text = read_file(path);
    auto parsed = request::parse_text(text);
    if (!parsed)
      throw Trouble{"--request " + path + ": " + parsed.error().reason +
                    (parsed.error().got.empty() ? "" : ": " + parsed.error().got)};
    if (!parsed->is_object()) throw Trouble{"--request " + path + ": not a JSON object"};
    document_ = *std::move(parsed);
    std::erase_if(document_.get_ref<json::object_t&>(),
                  [](const auto& member) { return member.second.is_null(); });
    if (path == "-") stdin_taken_ = true;
    // What an option would reach into must have its type before that; the
    // reader tells what is wrong with it.
    if (auto read = request::read_layer(document_, request::Kind::request); !read)
      refuse(read.error());
  }

  void apply(Opt id, std::string_view value) {
    switch (id) {
      case Opt::profile: document_["profile"] = value; break;
      case Opt::name: document_["name"] = value; break;
      case Opt::tag: {
        const auto [key, text] = key_and_value(value, "--tag");
        document_["tags"][key] = text;
        break;
      }
      case Opt::cwd: document_["cwd"] = bytes(absolute(value)); break;
      case Opt::workspace:
        if (value == "none")
          document_.erase("workspace");
        else
          document_["workspace"]["path"] = bytes(absolute(value));
        break;
      case Opt::ro: bind(value, "ro"); break;
      case Opt::rw: bind(value, "rw"); break;
      case Opt::tmpfs: mount(tmpfs_of(value, absolute(value.substr(0, value.find(':'))))); break;
      case Opt::scratch:
        mount({{"at", bytes(absolute(value))}, {"scratch", {{"on", "disk"}}}});
        break;
      case Opt::device: document_["devices"].push_back({{"path", bytes(value)}}); break;
      case Opt::root:
        document_["root"] = value == "empty" ? json(value) : bytes(absolute(value));
        break;
      case Opt::root_access: document_["root_access"] = value; break;
      case Opt::secret: set_secret(value); break;
      case Opt::net: set_network(value); break;
      case Opt::publish:
        set_network("outbound");
        document_["network"]["outbound"]["publish"].push_back(published_of(value));
        break;
      case Opt::seccomp: set_seccomp(value); break;
      case Opt::hostname: document_["hostname"] = value; break;
      case Opt::as: set_identity(value); break;
      case Opt::rlimit: set_rlimit(document_, value); break;
      case Opt::wall_time: document_["limits"]["wall_time"] = value; break;
      case Opt::memory: document_["limits"]["memory"] = number_or_text(value); break;
      case Opt::swap: document_["limits"]["swap"] = number_or_text(value); break;
      case Opt::pids: document_["limits"]["pids"] = number_or_text(value); break;
      case Opt::cpus: document_["limits"]["cpus"] = fraction_or_text(value); break;
      case Opt::cpu_time: document_["limits"]["cpu_time"] = value; break;
      case Opt::nice: document_["nice"] = number_or_text(value); break;
      case Opt::cpus_list: document_["affinity"] = cpus_of(value); break;
      case Opt::umask: document_["umask"] = value; break;
      case Opt::setsid: document_["setsid"] = true; break;
      case Opt::stop_signal: document_["lifetime"]["stop_signal"] = number_or_text(value); break;
      case Opt::stop_timeout: document_["lifetime"]["stop_timeout"] = value; break;
      case Opt::on_disconnect: document_["lifetime"]["on_disconnect"] = value; break;
      case Opt::idempotency_key: document_["idempotency_key"] = value; break;
      case Opt::unset: document_["unset"].push_back(value); break;
      case Opt::best_effort: document_["best_effort"].push_back(value); break;
      case Opt::pass_fd: pass_own(value); break;
      case Opt::tty: job_.terminal = true; break;
      default: break;  // composed below, or not of the request
    }
  }

  // --- the program ------------------------------------------------------------

  void set_argv() {
    json argv = json::array();
    if (line_.has(Opt::shell_line)) {
      argv = {"sh", "-c", bytes(line_.value(Opt::shell_line))};
      document_["executable"] = "/bin/sh";
    } else if (!line_.operands.empty()) {
      // The request's own program is replaced as a whole.
      document_.erase("executable");
    }
    for (const std::string_view operand : line_.operands) argv.push_back(bytes(operand));
    if (!argv.empty()) document_["argv"] = std::move(argv);
    if (!document_.contains("argv"))
      throw Trouble{"no command given: name a program, or a shell line with -c"};
  }

  bool another_user() const {
    return document_.contains("identity") && document_["identity"] != "caller";
  }

  void set_asked_env() {
    environment_ = compose_environment(line_, around_.environment, another_user());
    for (const auto& [name, value] : environment_.asked) document_["env"][name] = bytes(value);
  }

  void set_implied_env() {
    const json unset = document_.value("unset", json::array());
    for (const auto& [name, value] : environment_.implied) {
      const bool taken_away = std::find(unset.begin(), unset.end(), "env." + name) != unset.end();
      // JSON's keys are text; a variable that cannot be named there is none of the usual ones.
      if (taken_away || !request::is_utf8(name)) continue;
      if (document_.contains("env") && document_["env"].contains(name)) continue;
      document_["env"][name] = bytes(value);
      document_["implied"].push_back("env." + name);
    }
  }

  // --- descriptors ------------------------------------------------------------

  void pass_own(std::string_view text) {
    const json number = number_or_text(text);
    const auto* fd = number.get_ptr<const int64_t*>();
    if (fd == nullptr || *fd < 0 || *fd > INT_MAX || ::fcntl(static_cast<int>(*fd), F_GETFD) < 0)
      throw Trouble{"--pass-fd: " + std::string(text) + " is not an open descriptor"};
    job_.descriptors.push_back(static_cast<int>(*fd));
  }

  json pass(int fd) {
    job_.descriptors.push_back(fd);
    return {{"passed_fd", job_.descriptors.size() - 1}};
  }

  // --max-output and --log say where both streams go, and nothing else may. stderr may
  // go where stdout does.
  void refuse_other_places(Opt id, const char* does) const {
    const auto trouble = [&](const std::string& other) {
      return Trouble{name_of(id) + " " + does + " stdout and stderr, and " + other};
    };
    if (!line_.has(id)) return;
    if (id == Opt::max_output && line_.has(Opt::log)) throw trouble("--log names another place");
    if (job_.terminal) throw trouble("--tty gives the job a terminal");
    for (const auto& [field, option] :
         {std::pair{"stdout", Opt::stdout_}, std::pair{"stderr", Opt::stderr_}}) {
      const auto asked = document_.find(field);
      if (line_.has(option)) {
        if (line_.value(option) != "stdout" || option != Opt::stderr_)
          throw trouble(name_of(option) + " names another place");
      } else if (asked != document_.end() && *asked != "stdout" &&
                 !(id == Opt::max_output && asked->contains("capture"))) {
        throw trouble(std::string("the request names another place for ") + field);
      }
    }
  }

  void set_streams() {
    refuse_other_places(Opt::max_output, "captures");
    refuse_other_places(Opt::log, "takes");
    struct Stream {
      const char* field;
      Opt option;
      int flags;
    };
    constexpr Stream kStreams[] = {
        {"stdin", Opt::stdin_, O_RDONLY},
        {"stdout", Opt::stdout_, O_WRONLY | O_CREAT | O_TRUNC},
        {"stderr", Opt::stderr_, O_WRONLY | O_CREAT | O_TRUNC},
    };
    for (int fd = 0; fd < 3; fd++) {
      const auto& [field, option, flags] = kStreams[fd];
      if (line_.has(option))
        document_[field] = stream_of(fd, field, line_.value(option), flags);
      else if (fd != STDIN_FILENO && line_.has(Opt::max_output))
        set_captured(field);
      else if (fd != STDIN_FILENO && line_.has(Opt::log))
        set_logged(field);
      else if (!document_.contains(field))
        document_[field] = implied_stream(fd);
      note(line_.has(option) ? name_of(option) : kCaller);
    }
    if (job_.terminal && around_.rows > 0 && around_.columns > 0) {
      json& terminal = document_["terminal"];
      if (!terminal.contains("rows")) terminal["rows"] = around_.rows;
      if (!terminal.contains("columns")) terminal["columns"] = around_.columns;
    }
  }

  // stderr that is the same as stdout stays so.
  void set_captured(const char* field) {
    if (document_.contains(field) && document_[field] == "stdout") return;
    json& capture = document_[field]["capture"];
    capture["max"] = number_or_text(line_.value(Opt::max_output));
    capture["on_limit"] = "kill";
    note(name_of(Opt::max_output));
  }

  // One open file, sent twice: a descriptor that is sent is used once.
  void set_logged(const char* field) {
    if (document_.contains(field) && document_[field] == "stdout") return;
    const std::string path(line_.value(Opt::log));
    if (path == "-")
      throw Trouble{
          "--log: - is not a file; without --log the job has the command's own stdout and stderr"};
    if (verb_ == Verb::plan) {
      document_[field] = {{"path", bytes(path)}};
    } else {
      if (log_ < 0) {
        constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND;
        job_.opened.push_back(open_file(path, kFlags, "--log"));
        log_ = job_.opened.back().borrow();
      }
      document_[field] = pass(log_);
    }
    note(name_of(Opt::log));
  }

  void set_secret(std::string_view text) {
    const auto [name, path] = key_and_value(text, "--secret");
    job_.opened.push_back(open_file(path, O_RDONLY, "--secret"));
    document_["secrets"][name] = pass(job_.opened.back().borrow());
  }

  // What was published before stays.
  void set_network(std::string_view word) {
    const auto network = document_.find("network");
    if (word != "outbound")
      document_["network"] = word;
    else if (network == document_.end() || !network->is_object())
      document_["network"] = {{"outbound", json::object()}};
  }

  void set_seccomp(std::string_view value) {
    if (value == "default" || value == "none") {
      document_["seccomp"] = value;
      return;
    }
    const std::string path(value);
    auto profile = request::parse_text(read_file(path));
    if (!profile) throw Trouble{"--seccomp " + path + ": " + profile.error().reason};
    document_["seccomp"] = *std::move(profile);
  }

  json stream_of(int fd, const char* field, std::string_view value, int flags) {
    if (value == "null") return value;
    if (value == "stdout" && fd == STDERR_FILENO) return value;
    if (value == "-") {
      if (around_.open[fd]) return pass(fd);
      throw Trouble{std::string("--") + field + " -: the command's own is closed"};
    }
    if (verb_ == Verb::plan) return {{"path", bytes(value)}};  // a dry run creates no file
    job_.opened.push_back(
        open_file(std::string(value), flags, (std::string("--") + field).c_str()));
    return pass(job_.opened.back().borrow());
  }

  json implied_stream(int fd) {
    if (job_.terminal) return "pty";
    // A job that goes on without this command holds none of its descriptors:
    // $(cloister start ...) would wait for all of it.
    if (verb_ == Verb::start && fd != STDIN_FILENO) return {{"capture", json::object()}};
    if (verb_ == Verb::start || !around_.open[fd]) return "null";
    if (fd == STDIN_FILENO && stdin_taken_) return "null";
    return pass(fd);
  }

  // --- the box ------------------------------------------------------------------

  // Paths of a request are absolute. "~" is HOME inside: the service knows it.
  std::string absolute(std::string_view path) const {
    if (path.empty()) throw Trouble{"a path is empty"};
    std::string whole(path);
    if (path[0] != '/' && path != "~" && !path.starts_with("~/")) {
      if (around_.directory.empty())
        throw Trouble{whole + " is relative, and the current directory is gone"};
      whole = around_.directory + "/" + whole;
    }
    // ".." means what it means to the kernel, so links have to be followed for it.
    if (("/" + whole + "/").find("/../") != std::string::npos) {
      char real[PATH_MAX];
      if (::realpath(whole.c_str(), real) == nullptr)
        throw Trouble{"no such file or directory: " + whole};
      return real;
    }
    return request::normal_path(whole);
  }

  void bind(std::string_view value, const char* access) {
    const size_t colon = std::max(value.rfind(":/") + 1, value.rfind(":~") + 1);
    const bool placed = colon > 0;
    const std::string source = absolute(placed ? value.substr(0, colon - 1) : value);
    const std::string at = placed ? absolute(value.substr(colon)) : source;
    mount({{"at", bytes(at)}, {"bind", bytes(source)}, {"access", access}});
  }

  // An option goes before what --request has at that place, never before another.
  void mount(json mount) {
    json& mounts = document_["mounts"];
    const json at = mount["at"];
    const auto same = std::find_if(mounts.begin(), mounts.end(),
                                   [&](const json& other) { return other["at"] == at; });
    if (same == mounts.end()) {
      mounts.push_back(std::move(mount));
    } else if (std::find(placed_.begin(), placed_.end(), at) == placed_.end()) {
      *same = std::move(mount);
    } else if (*same != mount) {
      throw Trouble{"two of --ro, --rw, --tmpfs and --scratch name the same place: " +
                    (at.is_string() ? at.get<std::string>() : text_of(at))};
    }
    placed_.push_back(at);
  }

  void set_identity(std::string_view value) {
    const size_t colon = value.find(':');
    const json user = number_or_text(value.substr(0, colon));
    if (colon != std::string_view::npos) {
      document_["identity"] = {{"ruid", user}, {"rgid", number_or_text(value.substr(colon + 1))}};
    } else if (user.is_number()) {
      // The group would be the caller's, which for root is root's.
      throw Trouble{"--as: a uid needs a gid: --as " + std::string(value) + ":GID"};
    } else if (value == "caller" || value == "dynamic") {
      document_["identity"] = value;
    } else {
      document_["identity"] = {{"user", user}};
    }
  }

  bool host_mounts() const {
    const auto namespaces = document_.find("namespaces");
    return (namespaces != document_.end() && namespaces->contains("mnt") &&
            (*namespaces)["mnt"] != "new");
  }

  void set_implied_workspace() {
    // One that is gone is asked for too: the service knows whether it is missed.
    job_.directory = around_.directory.empty() ? around_.lost_directory : around_.directory;
    if (line_.has(Opt::workspace) || document_.contains("workspace") || host_mounts() ||
        job_.directory.empty())
      return;
    document_["workspace"]["path"] = bytes(job_.directory);
    document_["implied"].push_back("workspace");
    job_.implied_workspace = true;
  }

  // posix_spawn(3) as oneself starts here, and with what is blocked. A service
  // cannot see the first of a caller with more power than it, nor the second of
  // this command, which has blocked what it hands on by then.
  void set_implied_of_none() {
    if (!document_.contains("profile") || document_["profile"] != "none") return;
    if (!document_.contains("cwd") && !around_.directory.empty()) {
      document_["cwd"] = bytes(around_.directory);
      document_["implied"].push_back("cwd");
    }
    if (!document_.contains("setsigmask")) {
      document_["setsigmask"] = json::array();
      for (const int signal : around_.blocked)
        document_["setsigmask"].push_back(sys::signal_name(signal));
      document_["implied"].push_back("setsigmask");
    }
  }

  // --- the end --------------------------------------------------------------------

  [[noreturn]] static void refuse(const Problem& problem) {
    std::string text = "the request is refused at " + problem.field + ": " + problem.reason;
    if (!problem.expected.empty()) text += "; expected " + problem.expected;
    if (!problem.got.empty()) text += ", got " + problem.got;
    throw Trouble{std::move(text)};
  }

  Job finish() {
    auto read = cloister::parse(text_of(document_));
    if (!read) refuse(read.error());
    job_.request = *std::move(read);
    std::copy(std::begin(around_.open), std::end(around_.open), job_.open);
    return std::move(job_);
  }

  const CommandLine& line_;
  const Verb verb_;
  const Surroundings& around_;
  json document_ = json::object(), noted_ = json::object();
  Environment environment_;
  std::vector<json> placed_;  // where options have mounts
  bool stdin_taken_ = false;
  int log_ = -1;  // borrowed
  Job job_;
};

}  // namespace

Surroundings own_surroundings() {
  Surroundings around;
  size_t variables = 0;
  while (environ[variables] != nullptr) variables++;
  around.environment = {environ, variables};
  char path[PATH_MAX];
  // "(unreachable)/..." where its root is another one, getcwd(3).
  if (::getcwd(path, sizeof path) != nullptr && path[0] == '/') {
    around.directory = path;
  } else {
    const ssize_t size = ::readlink("/proc/self/cwd", path, sizeof path);
    const std::string name(path, size > 0 ? static_cast<size_t>(size) : 0);
    around.lost_directory = request::normal_path('/' + (name.empty() ? "(gone)" : name));
  }
  sigset_t blocked;
  if (::sigprocmask(SIG_BLOCK, nullptr, &blocked) == 0)
    for (int signal = 1; signal <= SIGRTMAX; signal++)
      if (::sigismember(&blocked, signal) == 1 && !sys::signal_name(signal).empty())
        around.blocked.push_back(signal);
  for (int fd = 0; fd < 3; fd++) around.open[fd] = ::fcntl(fd, F_GETFD) >= 0;
  for (int fd = 0; fd < 3; fd++) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
    around.rows = size.ws_row;
    around.columns = size.ws_col;
    break;
  }
  return around;
}

Job prepare(const CommandLine& line, Verb verb, const Surroundings& around) {
  return Mapping(line, verb, around).map();
}

bool drop_workspace(Job& job, const Error& error) {
  if (!job.implied_workspace || error.name.starts_with("local.") ||
      !error.field("field").starts_with("workspace"))
    return false;
  job.request.workspace.reset();
  job.implied_workspace = false;
  return true;
}

std::string no_workspace(const Job& job, const Error& error) {
  std::string why = error.field("reason");  // "is a home directory, or holds one"
  if (why.empty())
    why = error.field("message");
  else
    why = "the current directory " + why;
  return std::string("the job has no workspace") + (job.request.cwd ? "" : " and starts in /") +
         ": " + why + "; --workspace DIR gives it one";
}

bool is_missed(const Job& job) { return job.directory != "/"; }

}  // namespace cloister::command
