#include "medium.hpp"

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace cloister::security_test {
namespace {

std::string capabilities() {
  vfs_cap_data data{};
  data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  data.data[0].permitted = 1u << CAP_SETUID;
  return std::string(reinterpret_cast<const char*>(&data), XATTR_CAPS_SZ_2);
}

}  // namespace

std::string Medium::why_not(Kind kind) {
  if (kind == Kind::memory) return {};
  if (command({"sh", "-c", "command -v mke2fs losetup >/dev/null"}) != 0)
    return "needs mke2fs and losetup";
  if (command({"sh", "-c", "losetup -f >/dev/null 2>&1"}) != 0) return "no loop device is free";
  return {};
}

Medium::Medium(Kind kind) {
  World& world = World::get();
  path_ = world.directory_of(world.root());
  if (kind == Kind::memory) {
    check(mount("cloister-medium", path_.c_str(), "tmpfs", 0, "mode=0777"), "mount");
  } else {
    image_ = path_ + ".image";
    REQUIRE(command({"sh", "-c", "truncate -s 16M \"$0\" && mke2fs -q -t ext4 \"$0\"", image_}) ==
            0);
    REQUIRE(command({"mount", "-o", "loop", image_, path_}) == 0);
  }
  craft();
  const unsigned long flags = MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;
  check(mount(nullptr, path_.c_str(), nullptr, flags, nullptr), "remount");
}

Medium::~Medium() {
  umount2(path_.c_str(), MNT_DETACH);
  if (!image_.empty()) unlink(image_.c_str());
}

void Medium::craft() {
  World& world = World::get();
  const auto at = [this](const std::string& name) {
    names_.push_back(name);
    return path_ + "/" + name;
  };
  const auto program = [&](const std::string& name, const Who& who, mode_t mode) {
    const std::string path = at(name);
    write_file(path, "#!/bin/sh\nid\n");
    check(chown(path.c_str(), who.uid, who.gid), "chown");
    check(chmod(path.c_str(), mode), "chmod");
    return path;
  };
  const auto set = [](const std::string& path, const char* name, const std::string& value) {
    check(lsetxattr(path.c_str(), name, value.data(), value.size(), 0), name);
  };
  check(chmod(path_.c_str(), 0777), "chmod");
  program("set-uid", world.root(), 06777);
  program("set-uid-of-bob", world.bob(), 06777);
  program("set-uid-of-alice", world.alice(), 06755);
  program("set-gid-of-root", {world.alice().uid, 0, {}}, 02777);
  const mode_t before = umask(0);
  check(mknod(at("block").c_str(), S_IFBLK | 0666, makedev(7, 0)), "mknod");
  check(mknod(at("char").c_str(), S_IFCHR | 0666, makedev(1, 3)), "mknod");
  check(mknod(at("block-of-alice").c_str(), S_IFBLK | 0666, makedev(7, 0)), "mknod");
  const std::string node = path_ + "/block-of-alice";
  check(chown(node.c_str(), world.alice().uid, world.alice().gid), "chown");
  for (const char* name : {"directory", "sticky"}) {
    const std::string path = at(name);
    check(mkdir(path.c_str(), 0777), "mkdir");
    write_file(path + "/set-uid", "inside");
    check(chmod((path + "/set-uid").c_str(), 06777), "chmod");
  }
  check(chmod((path_ + "/sticky").c_str(), 03777), "chmod");
  umask(before);
  set(program("capable", world.root(), 0777), "security.capability", capabilities());
  set(program("capable-of-alice", world.alice(), 0777), "security.capability", capabilities());
  // What overlayfs would follow on a host where root's attributes count.
  set(program("redirected", world.alice(), 0666), "trusted.overlay.redirect", "/etc/shadow");
  set(path_ + "/redirected", "trusted.overlay.metacopy", "");
  for (const char* name : {"listed", "listed-of-alice"}) {
    const Who& who = name == std::string("listed") ? world.root() : world.alice();
    const std::string path = program(name, who, 0666);
    if (command({"sh", "-c", "command -v setfacl >/dev/null"}) == 0)
      REQUIRE(command({"setfacl", "-m", "u:" + std::to_string(world.bob().uid) + ":rwx", path}) ==
              0);
  }
}

census::People alice_may_be() {
  World& world = World::get();
  census::People people{{{world.alice().uid, 1}}, {{world.alice().gid, 1}}, true};
  for (const gid_t group : world.alice().groups) people.gids.push_back({group, 1});
  for (const bool uids : {true, false}) {
    const std::string text = read_file(uids ? "/etc/subuid" : "/etc/subgid");
    const std::string name = world.name_of(world.alice()) + ":";
    const size_t at = text.find(name);
    census::Span span;
    if (at != text.npos &&
        std::sscanf(text.c_str() + at + name.size(), "%u:%u", &span.first, &span.count) == 2)
      (uids ? people.uids : people.gids).push_back(span);
  }
  return people;
}

std::vector<Json> with_and_without_user_namespace(const Json& request) {
  Json subordinate = request;
  subordinate["namespaces"]["user"] = "new";
  subordinate["identity"] = {{"ruid", 0}, {"rgid", 0}, {"groups", Json::array()}};
  subordinate["uid_map"] = subordinate["gid_map"] = "subordinate";
  return {request, as_inner_root(Way::user, request), subordinate};
}

Json kept_in(const std::string& directory) {
  const Who& who = World::get().alice();
  for (const char* name : {"/upper", "/work"}) {
    check(mkdir((directory + name).c_str(), 0755), "mkdir");
    check(chown((directory + name).c_str(), who.uid, who.gid), "chown");
  }
  return {{"upper", directory + "/upper"}, {"work", directory + "/work"}};
}

}  // namespace cloister::security_test
