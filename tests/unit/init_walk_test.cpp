// Paths inside the new root, where openat2(2) is there and where a filter has it
// missing: the same files, the same refusals.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include <filesystem>

#include "init_steps.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::MountKind;

namespace {

void missing(Driver& job) { job.before_exec = answer(SCMP_SYS(openat2), ENOSYS); }
void present(Driver&) {}

void link(Driver& job, const char* at, const char* target) {
  job.mount(MountKind::symlink, at).data = job.plan.text(target);
}

}  // namespace

TEST_CASE("S3: with openat2(2) and without it places are found alike") {
  NEEDS_ROOT();
  for (void (*const kernel)(Driver&) : {present, missing}) {
    CAPTURE(kernel == missing);
    Driver job;
    kernel(job);
    job.host_tree();
    job.fresh(plan::Namespace::net);
    job.mount(MountKind::tmpfs, "/tmp/a").mode = 0755;
    link(job, "/tmp/absolute", "/tmp/a");
    link(job, "/tmp/relative", "a/../a/.");
    link(job, "/tmp/upwards", "../../../../../../tmp/a");
    link(job, "/tmp/chain", "/tmp/upwards/../relative/");
    for (const char* at : {"/tmp/a/five", "/tmp/absolute/one", "/tmp/chain/four",
                           "/tmp/relative/two", "/tmp/upwards/three", "/tmp/relative/two/deep"})
      job.mount(MountKind::dir, at);
    job.sysctls = {{job.plan.text("net/ipv4/ip_unprivileged_port_start"), job.plan.text("0")}};
    job.capture();
    job.shell("ls -m /tmp/a; ls /tmp/a/two; cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    const plan::ExitRecord& record = job.run();
    INFO(static_cast<uint32_t>(record.failure.step), ' ', record.failure.index, ' ',
         record.failure.error);
    CHECK(job.exit_code() == 0);
    CHECK(job.output() == "five, four, one, three, two\ndeep\n0\n");
  }
}

TEST_CASE("S3: with openat2(2) and without it the same is refused") {
  NEEDS_ROOT();
  struct Row {
    const char *at, *target, *place;
    int error;
  };
  for (const Row& row : {Row{"/tmp/loop", "loop", "/tmp/loop/x", ELOOP},
                         Row{"/tmp/magic", "/proc/self/cwd", "/tmp/magic/x", ELOOP},
                         Row{"/tmp/dangling", "/nowhere/at/all", "/tmp/dangling/x", EEXIST},
                         Row{"/tmp/file", "/etc/passwd", "/tmp/file/x", ENOTDIR}})
    for (void (*const kernel)(Driver&) : {present, missing}) {
      CAPTURE(row.place);
      CAPTURE(kernel == missing);
      Driver job;
      kernel(job);
      job.host_tree();
      link(job, row.at, row.target);
      job.mount(MountKind::dir, row.place);
      job.shell("true");
      const plan::ExitRecord& record = job.run();
      CHECK(record.failure.step == plan::Step::mounts);
      CHECK(record.failure.error == row.error);
    }
}

// Init may go anywhere, so what it finds in a closed directory is what the payload or the
// caller could, or who rules its owner. A link is followed for the two alone.
TEST_CASE("S3: a closed directory is searched for whom it is not closed to, and for nobody else") {
  NEEDS_ROOT();
  constexpr uint64_t kSearches = uint64_t{1} << CAP_DAC_READ_SEARCH;
  constexpr uint64_t kOther = uint64_t{1} << CAP_CHOWN;
  constexpr uint32_t kPayload = 300000, kCaller = 65534;
  struct Row {
    const char* what;
    uid_t uid;
    gid_t gid;
    mode_t mode;
    bool linked;
    uint64_t powers;
    bool own_users, all;
    int error;
  };
  for (const Row& row :
       {Row{"the payload's, by a link", kPayload, 0, 0700, true, 0, true, false, 0},
        Row{"the caller's, by a link", kCaller, 0, 0700, true, 0, true, false, 0},
        Row{"anybody's, of who searches all", 0, 0, 0, true, 0, true, true, 0},
        Row{"the payload's in the caller's", kCaller, 0, 0700, false, 0, true, false, 0},
        Row{"the payload's", kPayload, 400000, 0, false, 0, true, false, 0},
        Row{"the payload's of the host", kPayload, 0, 0, false, 0, false, false, 0},
        Row{"first ids of a line", 200000, 210000, 0, false, kSearches, true, false, 0},
        Row{"last ids of a line", 200009, 210009, 0, false, kSearches, true, false, 0},
        Row{"by a link there", 200000, 210000, 0, true, kSearches, true, false, ELOOP},
        Row{"no power to search", 200000, 210000, 0, false, kOther, true, false, EACCES},
        Row{"uid before a line", 199999, 210000, 0, false, kSearches, true, false, EACCES},
        Row{"uid after a line", 200010, 210000, 0, false, kSearches, true, false, EACCES},
        Row{"uid of a line for gids", 210000, 210000, 0, false, kSearches, true, false, EACCES},
        Row{"gid before a line", 200000, 209999, 0, false, kSearches, true, false, EACCES},
        Row{"gid after a line", 200000, 210010, 0, false, kSearches, true, false, EACCES},
        Row{"no user namespace", 200000, 210000, 0, false, kSearches, false, false, EACCES}}) {
    CAPTURE(row.what);
    char path[] = "/tmp/cloister-closed-XXXXXX";
    REQUIRE(::mkdtemp(path));
    const std::string closed = std::string(path) + "/closed", inner = closed + "/inner";
    REQUIRE(::chmod(path, 0755) == 0);
    REQUIRE(::mkdir(closed.c_str(), 0) == 0);
    REQUIRE(::mkdir(inner.c_str(), 0755) == 0);
    REQUIRE(::mkdir((inner + "/place").c_str(), 0755) == 0);
    REQUIRE(::symlink("inner", (closed + "/link").c_str()) == 0);
    REQUIRE(::chown(closed.c_str(), row.uid, row.gid) == 0);
    REQUIRE(::chmod(closed.c_str(), row.mode) == 0);
    REQUIRE(::chown(inner.c_str(), kPayload, 0) == 0);
    REQUIRE(::chmod(inner.c_str(), row.linked ? 0755 : 0700) == 0);
    Driver job;
    job.order.caller_uid = job.order.caller_gid = kCaller;
    job.order.capabilities.effective = job.order.capabilities.permitted = row.powers;
    if (row.all) job.order.flags |= plan::kSearchesAll;
    job.uid_map = {{0, kPayload, 1}, {5, 200000, 10}};
    job.gid_map = {{5, 210000, 10}, {0, kPayload, 1}};
    if (row.own_users)
      job.fresh(plan::Namespace::user);
    else
      job.plan->identity = {kPayload, kPayload, kPayload, kPayload, kPayload, kPayload, {}, 0, 0};
    job.fresh(plan::Namespace::mnt);
    job.bind("/", "/", plan::kMountReadOnly | plan::kMountRecursive);
    if (row.linked)
      job.mount(MountKind::dir, closed + "/link/place");  // a mount is at no link
    else
      job.mount(MountKind::tmpfs, closed + "/inner/place");
    const plan::ExitRecord& record = job.run();
    std::filesystem::remove_all(path);
    CHECK(record.failure.error == row.error);
    if (row.error == 0) {
      CHECK(record.ending == plan::Ending::ended);
    } else {
      CHECK(record.failure.step == plan::Step::mounts);
      CHECK(record.failure.index == 1);
    }
  }
}

TEST_CASE("S3: a directory of the job's own is closed to no mount of it") {
  NEEDS_ROOT();
  Driver job;
  job.order.caller_uid = job.order.caller_gid = 65534;
  job.plan->identity = {1001, 1001, 1001, 2001, 2001, 2001, {}, 0, 0};
  job.host_tree();
  job.mount(MountKind::tmpfs, "/tmp/closed").mode = 0700;
  job.mount(MountKind::tmpfs, "/tmp/closed/inner");
  job.capture();
  job.shell("grep -c /tmp/closed/inner /proc/self/mountinfo; ls /tmp/closed || echo closed");
  job.run();
  CHECK(job.output() == "1\nclosed\n");
}
