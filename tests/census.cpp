#include "census.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace cloister::census {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShown = 4;

void add(Census& census, const std::string& name, const std::string& which) {
  Count& count = census[name];
  ++count.number;
  if (count.which.size() < kShown) count.which.push_back(which);
}

// Processes come and go while they are counted: what vanishes is not there.
std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string link_target(const std::string& path) {
  std::error_code gone;
  return fs::read_symlink(path, gone).string();
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> out;
  DIR* stream = opendir(directory.c_str());
  if (!stream) return out;
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") out.push_back(name);
  }
  closedir(stream);
  return out;
}

struct Process {
  pid_t pid, parent;
  uid_t user;
  char state;
  std::string command;
};

// PID (COMMAND) STATE PPID ...; the command may hold anything, also ')'.
bool read_process(pid_t pid, Process& out) {
  const std::string directory = "/proc/" + std::to_string(pid);
  const std::string stat = contents(directory + "/stat");
  const size_t open = stat.find('('), close = stat.rfind(')');
  struct stat owner;
  if (open == stat.npos || close == stat.npos || ::stat(directory.c_str(), &owner) < 0) {
    return false;
  }
  std::istringstream rest(stat.substr(close + 1));
  rest >> out.state >> out.parent;
  out.pid = pid;
  out.command = stat.substr(open + 1, close - open - 1);
  // A process that is not dumpable has a /proc directory of root's: Uid tells.
  const std::string status = contents(directory + "/status");
  const size_t uid = status.find("\nUid:");
  out.user =
      uid == status.npos ? owner.st_uid : static_cast<uid_t>(std::stoul(status.substr(uid + 5)));
  return true;
}

std::vector<Process> processes(const Scope& scope) {
  std::map<pid_t, Process> all;
  for (const auto& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    Process process;
    if (read_process(static_cast<pid_t>(std::stol(name)), process)) all[process.pid] = process;
  }
  const auto descends = [&](pid_t pid) {
    while (pid > 0 && pid != scope.ancestor) {
      const auto found = all.find(pid);
      pid = found == all.end() ? 0 : found->second.parent;
    }
    return pid > 0;
  };
  std::vector<Process> out;
  for (const auto& [pid, process] : all) {
    const bool of_user =
        std::find(scope.users.begin(), scope.users.end(), process.user) != scope.users.end();
    const bool named =
        std::find(scope.processes.begin(), scope.processes.end(), pid) != scope.processes.end();
    if (of_user || named || (scope.ancestor != 0 && descends(pid))) out.push_back(process);
  }
  return out;
}

// "socket:[123]" counts as "socket", a deleted file as its name.
// Of an object with a number of its own ("net:[4026531840]", "/job-17/init"),
// without the number.
std::string kind_of(const std::string& target) {
  const size_t bracket = target.find(":[");
  if (bracket != target.npos) return target.substr(0, bracket);
  static const std::regex kJob("/job-[0-9]+"), kRecord("/records/[0-9a-f]{32}");
  return std::regex_replace(std::regex_replace(target, kJob, "/job-N"), kRecord, "/records/ID");
}

void count_processes(Census& census, const Scope& scope) {
  std::map<std::string, std::set<std::string>> namespaces;  // type -> inodes
  for (const Process& process : processes(scope)) {
    const std::string who = process.command + " uid " + std::to_string(process.user);
    const std::string pid = std::to_string(process.pid);
    if (process.state == 'Z') {
      add(census, "zombie " + who, pid);
      continue;
    }
    add(census, "process " + who, pid);
    const std::string directory = "/proc/" + pid;
    for (const auto& task : names_in(directory + "/task")) {
      if (task != pid) add(census, "thread of " + who, task);
    }
    for (const auto& fd : names_in(directory + "/fd")) {
      const std::string target = link_target(directory + "/fd/" + fd);
      if (target.empty()) continue;
      // Our own reading of /proc shows up in ourselves.
      if (process.pid == getpid() && target.starts_with("/proc/")) continue;
      add(census, "descriptor of " + who + ": " + kind_of(target), pid + ":" + fd + " " + target);
      const size_t bracket = target.find(":[");
      static const std::set<std::string> kTypes = {"cgroup", "ipc",  "mnt",  "net",
                                                   "pid",    "time", "user", "uts"};
      if (bracket != target.npos && kTypes.contains(target.substr(0, bracket))) {
        namespaces[target.substr(0, bracket)].insert(target);
      }
    }
    for (const auto& name : names_in(directory + "/ns")) {
      const std::string target = link_target(directory + "/ns/" + name);
      if (!target.empty()) namespaces[target.substr(0, target.find(':'))].insert(target);
    }
  }
  for (const auto& [type, inodes] : namespaces) {
    for (const auto& inode : inodes) add(census, "namespace " + type, inode);
  }
}

void count_mounts(Census& census) {
  std::istringstream table(contents("/proc/self/mountinfo"));
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    add(census, "mount " + point, line);
  }
}

void count_below(Census& census, const std::string& what, const std::string& directory) {
  std::error_code gone;
  for (fs::recursive_directory_iterator entry(directory,
                                              fs::directory_options::skip_permission_denied, gone);
       !gone && entry != fs::recursive_directory_iterator(); entry.increment(gone)) {
    add(census, what + " below " + directory, entry->path().string());
  }
}

void count_cgroups(Census& census, const Scope& scope) {
  std::error_code gone;
  for (fs::recursive_directory_iterator entry("/sys/fs/cgroup", gone);
       !gone && entry != fs::recursive_directory_iterator(); entry.increment(gone)) {
    std::error_code vanished;
    if (!entry->is_directory(vanished)) continue;
    const std::string path = entry->path().string();
    if (path.find(scope.word) != path.npos) add(census, "cgroup", path);
  }
}

void count_files(Census& census, const Scope& scope) {
  for (const std::string directory : {"/tmp", "/var/tmp", "/run", "/dev/shm"}) {
    for (const auto& name : names_in(directory)) {
      const std::string path = directory + "/" + name;
      struct stat status;
      if (lstat(path.c_str(), &status) < 0) continue;
      const bool ours =
          std::find(scope.users.begin(), scope.users.end(), status.st_uid) != scope.users.end();
      if (ours || name.find(scope.word) != name.npos) add(census, "file in " + directory, path);
    }
  }
  for (const auto& directory : scope.paths) count_below(census, "file", directory);
}

// Tables of the kernel with a line of names, then one line an object; `column`
// is that of the owner's uid.
void count_table(Census& census, const std::string& what, const std::string& path, size_t column,
                 const Scope& scope) {
  std::istringstream table(contents(path));
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream words(line);
    std::string word;
    for (size_t i = 0; i <= column; ++i) words >> word;
    if (word.find_first_not_of("0123456789") != word.npos || word.empty()) continue;
    const auto user = static_cast<uid_t>(std::stoul(word));
    if (std::find(scope.users.begin(), scope.users.end(), user) != scope.users.end()) {
      add(census, what + " of uid " + word, line);
    }
  }
}

// UID: USAGE KEYS/INSTANTIATED ... a line: /proc/keys shows only what the reader
// may view, this shows all that the kernel charges to a user.
void count_keys(Census& census, const Scope& scope) {
  std::istringstream table(contents("/proc/key-users"));
  for (std::string line; std::getline(table, line);) {
    unsigned user = 0;
    int usage = 0, keys = 0;
    if (std::sscanf(line.c_str(), "%u: %d %d/", &user, &usage, &keys) != 3) continue;
    if (std::find(scope.users.begin(), scope.users.end(), user) == scope.users.end()) continue;
    Count& count = census["key of uid " + std::to_string(user)];
    count.number = keys;
    count.which = {line};
  }
}

}  // namespace

Census take(const Scope& scope) {
  Census census;
  count_processes(census, scope);
  count_mounts(census);
  count_cgroups(census, scope);
  count_files(census, scope);
  count_table(census, "shared memory", "/proc/sysvipc/shm", 7, scope);
  count_table(census, "semaphores", "/proc/sysvipc/sem", 4, scope);
  count_table(census, "message queue", "/proc/sysvipc/msg", 7, scope);
  count_keys(census, scope);
  return census;
}

std::string difference(const Census& before, const Census& after) {
  std::set<std::string> names;
  for (const auto& [name, count] : before) names.insert(name);
  for (const auto& [name, count] : after) names.insert(name);
  std::string out;
  for (const auto& name : names) {
    const auto number = [&](const Census& census) {
      const auto found = census.find(name);
      return found == census.end() ? 0 : found->second.number;
    };
    const int change = number(after) - number(before);
    if (change == 0) continue;
    out += (change > 0 ? "+" : "") + std::to_string(change) + " " + name;
    const auto found = after.find(name);
    if (found != after.end()) {
      out += ":";
      for (const auto& which : found->second.which) out += " [" + which + "]";
    }
    out += "\n";
  }
  return out;
}

std::string settle(const Census& before, const Scope& scope, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    std::string left = difference(before, take(scope));
    if (left.empty() || std::chrono::steady_clock::now() >= end) return left;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::string to_text(const Census& census) {
  std::string out;
  for (const auto& [name, count] : census) out += std::to_string(count.number) + " " + name + "\n";
  return out;
}

Census from_text(const std::string& text) {
  Census census;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t space = line.find(' ');
    if (space == line.npos) throw std::runtime_error("census: not a census: " + line);
    census[line.substr(space + 1)].number = std::stoi(line);
  }
  return census;
}

}  // namespace cloister::census
