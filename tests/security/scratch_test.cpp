// LIFE-11 and FS-09: what removes a job's files goes nowhere but into them.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAt = "/run/scratch";
constexpr unsigned kExchange = 2;  // RENAME_EXCHANGE

std::string store_of(Way way) {
  World& world = World::get();
  return world.disk() +
         (way == Way::rootless ? "/" + world.name_of(world.alice()) + "/cloister" : "/system") +
         "/scratch";
}

bool empty(const std::string& directory) {
  return !fs::exists(directory) || fs::is_empty(directory);
}

// What must be the same afterwards: a directory of `who`'s with a file in it.
class Canary {
 public:
  explicit Canary(const Who& who) : path_(World::get().disk() + "/canary") {
    fs::create_directories(path_ + "/below");
    for (const char* file : {"/file", "/below/file"}) write_file(path_ + file, "canary");
    for (const char* name : {"", "/file", "/below", "/below/file"})
      check(chown((path_ + name).c_str(), who.uid, who.gid), "chown");
    check(chmod(path_.c_str(), 0751), "chmod");
    before_ = state();
  }
  ~Canary() { fs::remove_all(path_); }

  const std::string& path() const { return path_; }
  bool untouched() const { return state() == before_; }

 private:
  // Content, owner, mode, number and times of all that is there.
  std::string state() const {
    std::string out;
    for (const char* name : {"", "/file", "/below", "/below/file"}) {
      struct stat status {};
      if (lstat((path_ + name).c_str(), &status) < 0) return out + name + " is gone";
      out += std::to_string(status.st_ino) + " " + std::to_string(status.st_mode) + " " +
             std::to_string(status.st_uid) + " " + std::to_string(status.st_gid) + " " +
             std::to_string(status.st_nlink) + " " + std::to_string(status.st_ctim.tv_sec) + "." +
             std::to_string(status.st_ctim.tv_nsec) + "\n";
    }
    return out + read_file(path_ + "/file") + read_file(path_ + "/below/file");
  }

  std::string path_, before_;
};

TEST_CASE("before: scratch") {
  NEEDS_ROOT();
  World& world = World::get();
  // A store stays open once it has been needed.
  for (const Way way : kBoxWays) {
    Client client = world.connect(way);
    CHECK(client.run(World::on_disk(world.boxed_request({"noop"}), kAt)).verdict["ok"] == true);
  }
  count_before();
}

TEST_CASE(
    "FS-09 scratch directories lie where nobody else comes, under names that nobody guesses") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::string before;
    for (int i = 0; i < 3; ++i) {
      const Held held(client, World::on_disk(world.boxed_request({"hold"}), kAt));
      const uid_t service = way == Way::rootless ? world.alice().uid : 0;
      struct stat status {};
      check(stat(store_of(way).c_str(), &status), "stat");
      CHECK(status.st_uid == service);
      CHECK((status.st_mode & 07777) == 0700);
      CHECK(store_of(way).find("/tmp/cloister/") == std::string::npos);
      std::vector<std::string> names;
      for (const auto& entry : fs::directory_iterator(store_of(way)))
        names.push_back(entry.path().filename());
      REQUIRE(names.size() == 1);
      CHECK(names[0].size() == 32);
      CHECK(names[0].find_first_not_of("0123456789abcdef") == std::string::npos);
      CHECK(names[0].substr(0, 8) != before.substr(0, 8));
      before = names[0];
      check(stat((store_of(way) + "/" + before).c_str(), &status), "stat");
      CHECK(status.st_uid == service);
      CHECK((status.st_mode & 07777) == 0700);
      // The owner of what is in it does not get there from outside either.
      if (way == Way::user) {
        const pid_t tries = child([&] {
          become(world.alice());
          return open((store_of(way) + "/" + before).c_str(), O_PATH) < 0 && errno == EACCES ? 0
                                                                                             : 1;
        });
        CHECK(WEXITSTATUS(wait_for(tries)) == 0);
      }
    }
  }
}

TEST_CASE("LIFE-11 links, depth, modes and names that a payload leaves lead nowhere") {
  NEEDS_ROOT();
  World& world = World::get();
  const int depth = 1000;
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    const Canary canary(world.who(way));
    Client client = world.connect(way);
    Json request = World::on_disk(
        world.boxed_request({"litter", kAt, std::to_string(depth), canary.path()}), kAt);
    CHECK(act(client, request)["depth"] == nullptr);
    CHECK(empty(store_of(way)));
    CHECK(canary.untouched());
  }
}

// Somebody outside holds a directory of the payload's open and exchanges what is
// in it with a link to the canary, while it is removed.
TEST_CASE("LIFE-11 an accomplice who exchanges directories and links changes nothing elsewhere") {
  NEEDS_ROOT();
  World& world = World::get();
  const int rounds = std::getenv("CLOISTER_SOAK") ? 10'000 : 100;
  if (rounds < 10'000)
    not_run(std::to_string(rounds) + " of 10,000 removals by each way; all with --soak");
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    const Canary canary(world.alice());
    Client client = world.connect(way);
    for (int i = 0; i < rounds; ++i) {
      int pair[2];
      check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
      Fd ours(pair[0]), theirs(pair[1]);
      Json request = World::on_disk(world.boxed_request({"hand-over", kAt, "9"}), kAt);
      request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 9}}}}};
      client.post("Run", {{"request", request}}, {theirs.get()});
      theirs.reset();
      const Fd directory = receive_descriptor(ours.get());
      const int at = directory.get();
      const pid_t accomplice = child([&] {
        become(world.alice());
        mkdirat(at, "a", 0700);
        for (const char* name : {"a/b", "a/b/c", "a/b/c/d"}) mkdirat(at, name, 0777);
        symlinkat(canary.path().c_str(), at, "link");
        symlinkat((canary.path() + "/below").c_str(), at, "a/link");
        ours.reset();  // the payload ends now, and the removal begins
        for (;;) {
          // Until it is all gone, or somebody else's.
          const bool top = syscall(SYS_renameat2, at, "a", at, "link", kExchange) == 0;
          const bool below = syscall(SYS_renameat2, at, "a/b", at, "a/link", kExchange) == 0;
          const bool up = syscall(SYS_renameat2, at, "a/b/c", at, "link", kExchange) == 0;
          if (!top && !below && !up) return 0;
        }
      });
      ours.reset();
      std::optional<Reply> reply = client.receive();
      while (reply && reply->continues) reply = client.receive();
      REQUIRE(reply);
      INFO(reply->parameters.dump());
      CHECK(empty(store_of(way)));
      // Root's service has taken all from it; a user's own has the same power as it.
      if (way == Way::user) CHECK(eventually([&] { return !alive(accomplice); }));
      kill(accomplice, SIGKILL);
      wait_for(accomplice);
      REQUIRE(canary.untouched());
    }
  }
}

TEST_CASE("LIFE-11 the program that removes takes names of jobs only, and enters nothing mounted") {
  NEEDS_ROOT();
  World& world = World::get();
  const Canary canary(world.root());
  const std::string store = world.directory_of(world.root()), job(32, 'a');
  fs::create_directories(store + "/" + job + "/0/full");
  write_file(store + "/" + job + "/0/full/file", "x");
  fs::create_directories(store + "/kept");
  // Another file system on the way is not the job's.
  const auto sweep = [&](const std::vector<std::string>& arguments) {
    const pid_t pid = child([&] {
      check(dup2(check(open("/dev/null", O_RDONLY), "open"), 0), "dup2");
      const int base = check(open(store.c_str(), O_RDONLY | O_DIRECTORY), "open");
      if (base != 3) check(dup2(base, 3), "dup2");
      std::vector<char*> words;
      std::string program = world.program("cloister-sweep");
      words.push_back(program.data());
      std::vector<std::string> copies = arguments;
      for (auto& word : copies) words.push_back(word.data());
      words.push_back(nullptr);
      execv(program.c_str(), words.data());
      return 70;
    });
    return WEXITSTATUS(wait_for(pid));
  };
  for (const std::string& name : {std::string("../canary"), std::string("."), std::string("kept"),
                                  std::string(31, 'a'), job + "/0"}) {
    CAPTURE(name);
    CHECK(sweep({name}) == 64);
  }
  CHECK(fs::exists(store + "/" + job + "/0/full/file"));
  {
    const HostMount elsewhere(store + "/" + job + "/0/full");
    write_file(store + "/" + job + "/0/full/other", "x");
    CHECK(sweep({job}) == 1);
    umount2((store + "/" + job + "/0/full").c_str(), MNT_DETACH);
  }
  CHECK(sweep({}) == 0);
  CHECK(!fs::exists(store + "/" + job));
  CHECK(fs::exists(store + "/kept"));
  CHECK(canary.untouched());
}

TEST_CASE("after: scratch") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
