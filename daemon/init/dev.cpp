// /dev: the six devices that every program may expect, and nothing else of the
// host's.
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::mounts;

struct Device {
  const char* host_path;
  uint32_t major, minor;  // Linux allocated devices
};
constexpr Device kDevices[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                               {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

struct Link {
  const char* target;
  const char* name;
};
constexpr Link kLinks[] = {{"pts/ptmx", "ptmx"},
                           {"/proc/self/fd", "fd"},
                           {"/proc/self/fd/0", "stdin"},
                           {"/proc/self/fd/1", "stdout"},
                           {"/proc/self/fd/2", "stderr"}};

void attach(Job& job, uint32_t index, int tree, int dev, const char* name) {
  must(job, kStep, call(Call::move_mount, tree, "", dev, name, MOVE_MOUNT_F_EMPTY_PATH), index);
  close(tree);
}

// A node is bound, not made: a user namespace has no mknod(2). What is at the
// path has to be the device of that name.
void bind_device(Job& job, uint32_t index, int dev, const Device& device) {
  const int tree = must_fd(
      job, kStep,
      call(Call::open_tree, AT_FDCWD, device.host_path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
      index);
  struct stat status {};
  must(job, kStep, call(Call::fstat, tree, &status), index);
  if (!S_ISCHR(status.st_mode) || status.st_rdev != (device.major << 8 | device.minor))
    fail(job, kStep, ENODEV, index);
  restrict_tree(job, kStep, index, tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  const char* name = device.host_path + length("/dev/");
  must(job, kStep, call(Call::mknodat, dev, name, S_IFREG | 0644, 0), index);
  attach(job, index, tree, dev, name);
}

}  // namespace

void fill_dev(Job& job, uint32_t index, int dev) {
  for (const Device& device : kDevices) bind_device(job, index, dev, device);
  must(job, kStep, call(Call::mkdirat, dev, "pts", 0755), index);
  attach(job, index, new_devpts(job, index), dev, "pts");
  must(job, kStep, call(Call::mkdirat, dev, "shm", 01777), index);
  attach(job, index, new_shm(job, index), dev, "shm");
  for (const Link& link : kLinks)
    must(job, kStep, call(Call::symlinkat, link.target, dev, link.name), index);
}

}  // namespace cloister::init
