#include "host/id_map.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "host/child_watch.hpp"
#include "sys/programs.hpp"
#include "sys/root.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {
namespace {

using Lines = std::vector<plan::IdMap>;

struct MapFile {
  uint32_t index;
  const char* file;
  const char* program;
  Lines IdMaps::*map;
};
// setgroups(2) must be denied before a user may write gid_map, so that comes first.
constexpr MapFile kMapFiles[] = {{1, "gid_map", "newgidmap", &IdMaps::gids},
                                 {0, "uid_map", "newuidmap", &IdMaps::uids}};

sys::UniqueFd open_file(pid_t pid, const char* file, int flags) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  return sys::UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

// The kernel takes a map in one write(2). 0 or errno.
int write_file(pid_t pid, const char* file, const std::string& text) {
  const sys::UniqueFd fd = open_file(pid, file, O_WRONLY);
  if (!fd) return errno;
  return ::write(fd.borrow(), text.data(), text.size()) < 0 ? errno : 0;
}

std::string lines_of(const Lines& map) {
  std::string text;
  for (const plan::IdMap& line : map)
    text += std::to_string(line.inside) + ' ' + std::to_string(line.outside) + ' ' +
            std::to_string(line.count) + '\n';
  return text;
}

// 0, or errno; EPERM when the kernel has other lines than these. It sorts long
// maps, and keeps the order of short ones.
int verify(pid_t pid, const char* file, const Lines& map) {
  const sys::UniqueFd fd = open_file(pid, file, O_RDONLY);
  if (!fd) return errno;
  std::string text(size_t{plan::kMaxMapLines} * 34, '\0');
  size_t size = 0;
  for (ssize_t got = 1; got > 0; size += static_cast<size_t>(got)) {
    got = ::read(fd.borrow(), text.data() + size, text.size() - size);
    if (got < 0) return errno;
  }
  size_t lines = 0, known = 0;
  const char* at = text.c_str();
  plan::IdMap line{};
  for (int used = 0;
       std::sscanf(at, "%u %u %u%n", &line.inside, &line.outside, &line.count, &used) == 3;
       at += used, ++lines)
    for (const plan::IdMap& wanted : map)
      known += wanted.inside == line.inside && wanted.outside == line.outside &&
               wanted.count == line.count;
  return lines == map.size() && known == map.size() ? 0 : EPERM;
}

class Writer : public std::enable_shared_from_this<Writer> {
 public:
  Writer(boost::asio::io_context& io, IdMapping mapping,
         std::function<void(const plan::Failure&)> done)
      : mapping_(std::move(mapping)), done_(std::move(done)), end_(io) {}

  void next() {
    if (side_ == std::size(kMapFiles)) return finish(plan::kNone, 0);
    const MapFile& side = kMapFiles[side_];
    const Lines& map = mapping_.maps.*side.map;
    const bool gids = side.index == 1;
    const uint32_t own = gids ? mapping_.gid : mapping_.uid;
    const bool alone = map.size() == 1 && map[0].count == 1 && map[0].outside == own;
    if (!sys::is_root() && !alone) return ask(side, map);
    int error = 0;
    if (gids && (mapping_.deny_setgroups || !sys::is_root()))
      error = write_file(mapping_.init, "setgroups", "deny");
    if (!error) error = write_file(mapping_.init, side.file, lines_of(map));
    if (error) return finish(plan::kNone, error);
    ++side_;
    next();
  }

 private:
  void ask(const MapFile& side, const Lines& map) {
    const sys::UniqueFd program = sys::open_program(side.program);
    if (!program) return finish(side.index, ENOENT);
    std::vector<std::string> words = {side.program, std::to_string(mapping_.init)};
    for (const plan::IdMap& line : map)
      for (const uint32_t number : {line.inside, line.outside, line.count})
        words.push_back(std::to_string(number));
    std::vector<const char*> argv;
    argv.reserve(words.size() + 1);
    for (const std::string& word : words) argv.push_back(word.c_str());
    argv.push_back(nullptr);
    // What it has to say goes to our standard error.
    Child child = spawn(
        {.executable = program.borrow(), .name = side.program, .moves = {}, .argv = argv.data()});
    if (child.pid < 0) return finish(side.index, errno);
    end_.of_child(std::move(child), [self = shared_from_this()](const Reaped& asked) {
      self->on_answer(asked.code == CLD_EXITED && asked.status == 0);
    });
  }

  void on_answer(bool granted) {
    const MapFile& side = kMapFiles[side_];
    const int error = granted ? verify(mapping_.init, side.file, mapping_.maps.*side.map) : EPERM;
    if (error) return finish(side.index, error);
    ++side_;
    next();
  }

  void finish(uint32_t index, int error) {
    done_({error ? plan::Step::id_map : plan::Step::none, index, error, 0});
  }

  IdMapping mapping_;
  std::function<void(const plan::Failure&)> done_;
  ChildWatch end_;
  size_t side_ = 0;
};

}  // namespace

void write_id_maps(boost::asio::io_context& io, IdMapping mapping,
                   std::function<void(const plan::Failure&)> done) {
  std::make_shared<Writer>(io, std::move(mapping), std::move(done))->next();
}

}  // namespace cloister::monitor
