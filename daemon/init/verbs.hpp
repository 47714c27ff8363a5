// The verbs of a launch, in the order the kernel wants (docs/architecture.md).
// Each lives in the file named above it, does its step for the Job or does not
// return (job.hpp, fail).
#pragma once

#include "job.hpp"

struct open_how;
struct stat;
struct statx;

namespace cloister::init {

// process.cpp
void begin(Job& job);
void hold_proc(Job& job);
void read_plan(Job& job);
void publish(Job& job, uint64_t commit);
[[noreturn]] void finish(Job& job);
int64_t boottime_ns();
// control.cpp: the monitor's socket, served wherever init waits
void heed_monitors_death(Job& job, Step step);  // again after a change of ids
void receive_order(Job& job);
void report(Job& job, plan::ReportKind kind, uint32_t detail = 0);
void report_payload(Job& job);  // with its pidfd
void await_proceed(Job& job, Step step);
// Until `fd` is readable: true. Until a child changed, or `ms` have passed: false.
inline constexpr int kUntilTime = -3;  // instead of a descriptor
bool await(Job& job, int fd, int ms = -1);
void await_network(Job& job, Step step);  // until Job::network is there
void release_held_signals(Job& job);

// fds.cpp: what the client passed
void receive_descriptors(Job& job);
void report_facts(Job& job);
long offer_to_front(int channel, int fd, char what);  // the kernel's answer

// looking.cpp: what the caller may and root may not
long look_as_caller(const Job& job, int fd, struct stat& status);  // fstat(2)
long open_as_caller(const Job& job, int root, const char* path, const open_how& how);

// namespaces.cpp
void make_namespaces_ahead(Job& job);
void keep_or_leave_namespaces(Job& job);  // that were made ahead
void enter_fresh_user(Job& job);
void join_namespaces(Job& job);
void make_pid_namespace(Job& job);
void make_mount_namespace(Job& job);
void enter_outbound_network(Job& job);
void make_ipc_namespace(Job& job);   // before its turn, where a mount shows it
void make_user_namespace(Job& job);  // payload
// All that belongs to the job's user namespace, where it has one of its own; in
// init where it has none.
void make_inside(Job& job);
void join_time_namespace(Job& job);    // payload
void make_cgroup_namespace(Job& job);  // payload

// caller.cpp
void take_login_uid(Job& job);
void label_next_exec(Job& job);
void enter_v1_cgroups(Job& job);
// loopback.cpp
void raise_loopback(Job& job);

// settings.cpp: what lives inside the namespaces
void bring_loopback_up(Job& job);
void name_host(Job& job);
void set_sysctls(Job& job);

// The payload's ids as they count while the mounts are made: a user namespace
// that comes after them has not renamed the ids yet.
struct Owner {
  uint32_t uid, gid;
};
Owner payload_outside(const Job& job);
// The same of a supplementary group; kNone: it has none.
uint32_t group_outside(const Job& job, uint32_t group);

// processes.cpp
void open_namespaces_of_processes(Job& job);
// walk.cpp
long open_by_rules(int at, const char* path, const open_how& how);
// sources.cpp
void clone_sources(Job& job);
void restrict_tree(Job& job, Step step, uint32_t index, int tree, uint64_t attributes);
// Opens by `path` what `fd` is, in the mount namespace that this process is in;
// -ESTALE where that is something else by now. No path: the one that /proc knows.
long open_again(const Job& job, int fd, const char* path);
// idmap.cpp
long write_map(int process, const char* file, Job::Lines map);
int new_user_namespace(Job& job, Step step, uint32_t index, Job::Lines uids, Job::Lines gids);
void map_ids(Job& job, uint32_t index, const plan::Mount& mount, int tree);
// mounts.cpp, verify_mounts.cpp
void attach_mounts(Job& job);
long mount_of(int fd, struct statx& status);  // stx_mnt_id, and nothing else
uint32_t mount_id(Job& job, uint32_t index, int tree);
void verify_mounts(Job& job);
// filesystems.cpp, dev.cpp
int remember(Job& job, uint32_t index, long tree, Step step);
int new_tmpfs(Job& job, uint32_t index, const plan::Mount& mount);
int new_devpts(Job& job, uint32_t index);
int new_shm(Job& job, uint32_t index);
// A detached mount of a kind that is made here; -1 for the others.
int new_filesystem(Job& job, uint32_t index, const plan::Mount& mount);
void fill_dev(Job& job, uint32_t index, int dev);
// staging.cpp, overlay.cpp, masks.cpp
void make_staging(Job& job);
long copy_content(int from, int at, const char* name, uint32_t mode, Owner owner);
int new_file(Job& job, uint32_t index, const plan::Mount& mount);
int new_empty(Job& job, uint32_t index, bool directory);
void make_client_space(Job& job, uint32_t index);
int new_overlay(Job& job, uint32_t index, const plan::Mount& mount);
class Places;
void cover(Job& job, const Places& places, uint32_t index, const plan::Mount& mount);
// covers.cpp: the kernel's own files, where the monitor says so; all mounts are there
void cover_kernel(Job& job, int root);
void verify_covers(Job& job);  // after pivot_root(2)

struct Sets {  // of capabilities
  uint64_t effective, permitted, inheritable;
};

// identity.cpp
void take_payloads_groups(Job& job);  // init, which looks places up as the payload
void become_nobodys(Job& job);        // init, where the payload has its ids
// While it lives, files are opened and made as the payload. What may be done to
// them stays, but for the capabilities `without`.
class FilesOfPayload {
 public:
  explicit FilesOfPayload(Job& job, uint64_t without = 0);
  ~FilesOfPayload();
  FilesOfPayload(const FilesOfPayload&) = delete;
  FilesOfPayload& operator=(const FilesOfPayload&) = delete;

 private:
  Job& job_;
  long uid_, gid_;
  Sets before_;
};
void raise_late_powers(Job& job);    // payload
void drop_groups_and_ids(Job& job);  // payload
// powers.cpp
Sets sets_now(Job& job, Step step);
long set_sets(const Sets& sets);
void become_mapped(Job& job, uint32_t uid, uint32_t gid);
void keep_only(Job& job, Step step, uint64_t powers);  // bounding set and all others but ambient
void make_ambient(Job& job, Step step, uint64_t powers);
// capabilities.cpp
void settle_capabilities(Job& job);  // payload: what "all" means, while all is there
void set_capabilities(Job& job);     // payload

// child.cpp
long fork_process(uint64_t flags, int* pidfd = nullptr, int cgroup = -1);
long result_of(long child);  // of a process for one verb: 0 or -errno
void share_words(Job& job, Step step);
void prepare_fork(Job& job, Step step);
void await_exec(Job& job);
// fork.cpp
void fork_payload(Job& job);
void announce_start(Job& job);

// From here on: the payload's process.
// payload.cpp is its table of contents
[[noreturn]] void become_payload(Job& job, int32_t parent);
// attributes.cpp
void set_session(Job& job);
void set_scheduling(Job& job);
void set_process_attributes(Job& job);
// actions.cpp
void hide_descriptors(Job& job);
void perform_actions(Job& job);
// limits.cpp
void raise_descriptor_limit(Job& job);  // init
void set_limits(Job& job);
// landlock.cpp
void make_domain(Job& job);                 // init
void allow_changes_in(Job& job, int tree);  // init
void prepare_landlock(Job& job);
void enter_landlock(Job& job);
// seccomp.cpp
void answer_violation(Job& job, short events);  // init
uint64_t power_to_filter(const Job& job);  // capabilities that loading takes, CAP_SYS_ADMIN or none
void stand_by_for_listener(Job& job);
void load_filters(Job& job);
// exec.cpp
void reset_signals(Job& job);
[[noreturn]] void execute(Job& job);

// reap.cpp: the end
void kill_everything(Job& job);
void signal_everything(Job& job, int signal);
void reap_until_ended(Job& job);

}  // namespace cloister::init
