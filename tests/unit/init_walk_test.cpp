// Paths inside the new root, where openat2(2) is there and where a filter has it
// missing: the same files, the same refusals.
#include <fcntl.h>

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
