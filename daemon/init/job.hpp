// Job: everything init knows, in one place, without a heap.
//
// One instance, in .bss, so that what is not touched costs nothing. Its owner
// is main.cpp; every verb takes it by reference. The payload's process works
// on its own copy after the fork.
#pragma once

#include "plan/order.hpp"
#include "plan/record.hpp"
#include "plan/view.hpp"
#include "syscall.hpp"

namespace cloister::init {

using plan::kNone;
using plan::Namespace;
using plan::Step;

// What the payload's process says when a filter may keep it from any system
// call: memory that it shares with init until its exec.
struct Words {
  plan::Failure failure;  // of a step, `none` if there is none
  uint32_t ready;         // the next call is execve(2)
  int32_t listener;       // number of the filter's, seccomp_unotify(2); 0: none
};

struct Job {
  plan::Order order;
  plan::IdMap map_lines[4 * plan::kMaxMapLines];  // came with the Order, in its order
  const void* block;                              // the Plan's pages, accepted by plan::check()
  plan::Identity identity;                        // the Plan's, or the leased one
  plan::ExitRecord record;
  plan::ExitRecord* published;  // the record's file, mapped

  int proc;         // O_PATH on the procfs that init was started with
  int signals;      // signalfd for SIGCHLD; 0 before the fork
  int epoll;        // for control.cpp; 0 before the fork
  int status_read;  // of the socket that the payload's exec closes
  int status_write;
  int listener;                                     // of the client's filter, or 0
  void (*answer_listener)(Job& job, short events);  // while there is one
  Words* words;
  int pidfd;         // of the payload, until the monitor has it, and the client if it wants it
  int network;       // of an outbound job, once the monitor has sent it; 0 before
  int front;         // kPassedFd, or where the payload's process keeps it
  int first_hidden;  // payload: numbers from here on are ours, none below is
  int landlock;      // payload: the client's ruleset, at or above first_hidden; 0: none
  int domain;        // the ruleset that the Order asks for; 0: none

  Step step;           // what init is doing, for a failure that comes from outside
  bool in_payload;     // this is the payload's process
  bool in_helper;      // a process for one verb: its exit status is the errno
  bool proceed;        // the monitor said so and nobody has used it up
  bool cancelled;      // told to kill, or the monitor is gone
  bool orphaned;       // the monitor is gone
  bool started;        // execve(2) succeeded
  bool payload_alive;  // not reaped: its pid is its own
  int32_t payload;
  uint64_t held_signals;  // bit n-1: signal n came before the exec

  int descriptors[plan::kMaxDescriptors];  // as received; order of Header::descriptors
  int captured[plan::kCaptured];           // write ends of the pipes, or 0
  int trees[plan::kMaxMounts];             // of mount i, or 0
  uint32_t mount_ids[plan::kMaxMounts];    // of mount i, or 0
  bool over_closed[plan::kMaxMounts];      // mount i lies on a directory above its place
  int staging;                             // a tmpfs below the new root, or 0
  int client_space;                        // a user namespace of who the client may be, or 0
  bool net_made, ipc_made;                 // the new namespace is there already
  int host_net, host_ipc;                  // what it was made ahead of; 0: it was not
  uint32_t own_mounts[plan::kMaxMounts];   // ids of those on which nothing is the host's
  uint32_t own_mount_count;

  plan::View plan() const { return plan::View(block); }
  const plan::Header& header() const { return plan().header(); }
  struct Lines {
    const plan::IdMap* begin;
    uint32_t count;
  };
  Lines uid_map() const { return {map_lines, order.uid_lines}; }
  Lines gid_map() const { return {map_lines + order.uid_lines, order.gid_lines}; }
  Lines client_uids() const {
    return {map_lines + order.uid_lines + order.gid_lines, order.client_uid_lines};
  }
  Lines client_gids() const {
    return {client_uids().begin + order.client_uid_lines, order.client_gid_lines};
  }
  bool has(uint32_t order_flag) const { return (order.flags & order_flag) != 0; }
  plan::Join join(Namespace which) const {
    return header().namespaces[static_cast<uint32_t>(which)].join;
  }
  bool fresh(Namespace which) const { return join(which) == plan::Join::fresh; }
  // Init stays out of the job's own user namespace: in there its ids would be the
  // client's, and a payload with capabilities would have them over init.
  bool inside_is_for_payload() const { return fresh(Namespace::user); }
  bool outbound() const { return (header().flags & plan::kOutbound) != 0; }
  bool joined(Namespace which) const {
    return join(which) == plan::Join::descriptor || join(which) == plan::Join::job;
  }
  // Init was born in a user namespace or has joined one: it has no power over the
  // host, and is the client already.
  bool is_inside() const { return has(plan::kFreshUser) || joined(Namespace::user); }
};

// The one door that every failure leaves by. In init: whatever runs is killed,
// the record is written, the process ends. In the payload's process: init is
// told, the process ends.
[[noreturn]] void fail(Job& job, const plan::Failure& failure);
[[noreturn]] inline void fail(Job& job, Step step, long error, uint32_t index = kNone) {
  fail(job, {step, index, static_cast<int32_t>(error), 0});
}

// The result of a system call that has to succeed.
inline long must(Job& job, Step step, long result, uint32_t index = kNone) {
  if (result < 0) fail(job, step, -result, index);
  return result;
}
inline int must_fd(Job& job, Step step, long result, uint32_t index = kNone) {
  return static_cast<int>(must(job, step, result, index));
}

}  // namespace cloister::init
