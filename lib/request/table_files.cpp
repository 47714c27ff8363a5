// The vocabulary: mounts, devices and secrets. See table.hpp.
#include "table.hpp"

namespace cloister::request {
namespace {

constexpr Choice<Access, 2> kAccess{{{"ro", Access::ro}, {"rw", Access::rw}}};

constexpr Choice<Owner, 1> kOwner{{{"caller", Owner::caller}}};

constexpr Choice<DevKind, 1> kDevKind{{{"minimal", DevKind::minimal}}};

constexpr Choice<ProcSubset, 1> kProcSubset{{{"pid", ProcSubset::pid}}};

constexpr Choice<ScratchPlace, 2> kScratchPlace{
    {{"memory", ScratchPlace::memory}, {"disk", ScratchPlace::disk}}};

}  // namespace

template <>
const Table& table<Workspace>() {
  static constexpr Line kRows[] = {
      kRequired(
          Field{"path", &Workspace::path, kAbsolutePath, "a directory, bound at its own path"}),
      Field{"access", &Workspace::access, kAccess, "rw if absent"},
      Field{"owner", &Workspace::owner, kOwner,
            "caller: the caller owns the files that the payload makes, whatever its ids"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Empty>() {
  static constexpr Table kTable{{}};
  return kTable;
}

template <>
const Table& table<Tmpfs>() {
  static constexpr Line kRows[] = {
      Field{"size", &Tmpfs::size, Size{}, "the kernel's default, half of the memory, if absent"},
      Field{"inodes", &Tmpfs::inodes, Integer{1, INT64_MAX}, "the kernel's default if absent"},
      Field{"mode", &Tmpfs::mode, kMode, "of its root; 1777 if absent"}};
  static constexpr Table kTable{kRows, broken_rule<Tmpfs>};
  return kTable;
}

template <>
const Table& table<Directory>() {
  static constexpr Line kRows[] = {Field{"mode", &Directory::mode, kMode, "0755 if absent"}};
  static constexpr Table kTable{kRows, broken_rule<Directory>};
  return kTable;
}

template <>
const Table& table<Proc>() {
  static constexpr Line kRows[] = {Field{"subset", &Proc::subset, kProcSubset,
                                         "pid: the directories of processes only, proc(5)"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Scratch>() {
  static constexpr Line kRows[] = {
      Field{"on", &Scratch::on, kScratchPlace,
            "memory if absent; on disk it is removed before the end of the job is told"},
      Field{"size", &Scratch::size, Size{}, "of memory; the kernel's default if absent"}};
  static constexpr Table kTable{kRows, broken_rule<Scratch>};
  return kTable;
}

template <>
const Table& table<FileContent>() {
  static constexpr Line kRows[] = {
      Field{"text", &FileContent::text, Text{kMaxText, 0}, "its content"},
      Field{"base64", &FileContent::base64, Base64{kMaxText}, "its content, any bytes"},
      Field{"passed_fd", &FileContent::passed_fd, kPassedFdIndex, "its content is read from here"},
      Field{"mode", &FileContent::mode, kMode, "0644 if absent"}};
  static constexpr Table kTable{kRows, broken_rule<FileContent>};
  return kTable;
}

template <>
const Table& table<MountIdMap>() {
  static constexpr List<Object<IdMapping>> kLines{{}, 1, plan::kMaxMapLines};
  static constexpr Line kRows[] = {kRequired(Field{"uid", &MountIdMap::uid, kLines, "user ids"}),
                                   kRequired(Field{"gid", &MountIdMap::gid, kLines, "group ids"})};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Overlay>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"lower", &Overlay::lower, List{kAbsoluteOrFd, 1, 500}, "topmost first"}),
      Field{"upper", &Overlay::upper, kAbsolutePath,
            "where changes go; gone with the job if absent"},
      Field{"work", &Overlay::work, kAbsolutePath, "beside upper, on its file system"}};
  static constexpr Table kTable{kRows, broken_rule<Overlay>};
  return kTable;
}

template <>
const Table& table<Mount>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"at", &Mount::at, kAbsolutePath, "where, inside the new root; ~ is HOME"}),
      Field{"bind", &Mount::bind, kAbsoluteOrFd, "a path outside, opened as the caller"},
      Field{"tmpfs", &Mount::tmpfs, Object<Tmpfs>{}, "an empty file system in memory"},
      Field{"proc", &Mount::proc, Object<Proc>{}, "a fresh procfs of the payload's pid namespace"},
      Field{"cgroup_view", &Mount::cgroup_view, Object<Empty>{},
            "the payload's own cgroup, read-only"},
      Field{"devpts", &Mount::devpts, Object<Empty>{}, "terminals of its own"},
      Field{"mqueue", &Mount::mqueue, Object<Empty>{},
            "POSIX message queues of the job's ipc namespace"},
      Field{"dev", &Mount::dev, kDevKind, "null zero full random urandom tty ptmx pts shm"},
      Field{"symlink", &Mount::symlink, kPath, "a symbolic link with this target"},
      Field{"dir", &Mount::dir, Object<Directory>{}, "a directory on a file system of the sandbox"},
      Field{"scratch", &Mount::scratch, Object<Scratch>{}, "empty, private, the payload's own"},
      Field{"file", &Mount::file, Object<FileContent>{}, "a file with this content"},
      Field{"overlay", &Mount::overlay, Object<Overlay>{}, "overlayfs"},
      Field{"access", &Mount::access, kAccess,
            "of bind, file, tmpfs, dev and overlay; ro for bind and file, else rw, if absent"},
      Field{"nosuid", &Mount::nosuid, kBoolean, "of bind; true if absent"},
      Field{"nodev", &Mount::nodev, kBoolean, "of bind; true if absent"},
      Field{"noexec", &Mount::noexec, kBoolean,
            "of bind, file, tmpfs, scratch and overlay; false if absent"},
      Field{"noatime", &Mount::noatime, kBoolean,
            "of bind, tmpfs, scratch and overlay; false if absent"},
      Field{"recursive", &Mount::recursive, kBoolean,
            "of bind: with the mounts below it; true if absent"},
      Field{"idmap", &Mount::idmap, Object<MountIdMap>{},
            "of bind: ids that it shows as others, mount_setattr(2)"},
      Field{"optional", &Mount::optional, kBoolean,
            "left out where the source or place is missing"}};
  static constexpr Table kTable{kRows, broken_rule<Mount>};
  return kTable;
}

template <>
const Table& table<Secret>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"passed_fd", &Secret::passed_fd, kPassedFdIndex, "read to its end"})};
  static constexpr Table kTable{kRows};
  return kTable;
}

template <>
const Table& table<Device>() {
  static constexpr Line kRows[] = {
      kRequired(Field{"path", &Device::path, kAbsolutePath, "below /dev of the host"}),
      Field{"access", &Device::access, kAccess, "rw if absent"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

}  // namespace cloister::request
