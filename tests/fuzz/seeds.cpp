// Writes the inputs that a part of the fuzz target starts from: one of each
// kind of thing that is accepted.
//
//   seeds PART DIRECTORY
#include <sched.h>

#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "plan/builder.hpp"
#include "plan/view.hpp"

namespace {

using namespace cloister;

constexpr const char* kTexts[] = {
    R"({"method":"org.varlink.service.GetInfo"})",
    R"({"method":"io.cloister.Launcher.Wait","parameters":{"id":"j-0","options":["WEXITED"]}})",
    R"({"method":"io.cloister.Launcher.Run","more":true,"parameters":{"request":{"argv":["true"]}}})",
    R"({"parameters":{"event":"accepted","id":"j-1"},"continues":true})",
    R"({"error":"io.cloister.Launcher.Denied","parameters":{"field":"nice","rule":"own"}})",
    R"(// a profile
{"namespaces":{"mnt":"new","pid":"new","user":"auto"},"network":"none","mounts":[
{"at":"/","bind":"/","access":"ro"},{"at":"/tmp","tmpfs":{"mode":"1777"},"optional":true},
{"at":"/proc","proc":{}},{"at":"/dev","dev":"minimal"},{"at":"~","scratch":{}}],
"no_new_privs":true,"rlimits":{"RLIMIT_NOFILE":{"soft":1024,"hard":4096}},"env_pass":["LANG"]})",
    R"({"argv":["a","b"],"executable":"/bin/true","profile":"none","env":{"A":"B"},"umask":"0022",
"cwd":{"passed_fd":0},"stdin":"null","stdout":{"passed_fd":1},"stderr":{"open":"/dev/null"},
"nice":5,"affinity":[0,1],"oom_score_adj":10,"setsid":true,"setpgroup":0,"resetids":false,
"setsigmask":["SIGUSR1","SIGRTMIN+1"],"setsigdef":["SIGPIPE"],"terminal":{"rows":24,"columns":80},
"file_actions":[{"open":{"fd":3,"path":"/x","flags":["O_RDONLY"],"mode":"0644"}},
{"dup2":{"fd":3,"new_fd":4}},{"close":{"fd":3}},{"chdir":{"path":"/"}},{"passed_fd":{"index":2,"fd":9}}],
"identity":{"uid":0,"gid":0,"groups":[1]},"scheduler":{"policy":"SCHED_FIFO","priority":1},
"unshare":["fs"],"namespaces":{"net":"new","user":{"passed_fd":3},"pid":{"job":"j-2"}},
"uid_map":[{"inside":0,"outside":0,"count":1}],"hostname":"h","tags":{"k":"v"},"unset":["umask"],
"best_effort":["ioprio"],"lifetime":{"on_disconnect":"keep","stop_timeout":"5s"}})",
    "YWJj\xf0\x9f\x98\x80",
    "//a/./b/",
};

// Profiles and a request, one a line.
constexpr const char* kLayers[] = {
    R"({"namespaces":{"mnt":"new","net":"new","user":"auto"},"network":"none","mounts":[{"at":"/","bind":"/"},{"at":"/tmp","tmpfs":{}}],"env":{"A":"1"},"sysctls":{"net.ipv4.ip_default_ttl":64}}
{"unset":["mounts./tmp","env.A"],"env_pass":["LC_*"],"limits":{"pids":1},"best_effort":["limits.pids"]}
{"argv":["a"],"network":"host","mounts":[{"at":"/tmp/","scratch":{}}],"nice":1})",
    R"({"defaults":"caller"}
{"argv":["a"],"no_new_privs":false,"best_effort":["seccomp"],"seccomp":{},"masked_paths":["/a"]})",
};

constexpr const char* kFilters[] = {
    R"("default")", R"({"deny":["@debug","bpf"],"permit":["@mount"],"errno":"EACCES"})",
    R"({"allow":["@start","read"],"default":"kill_process"})",
    R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
"flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["read","clone"],"action":"SCMP_ACT_ALLOW",
"args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"comment":"",
"includes":{"caps":["CAP_SYS_ADMIN"],"arches":["amd64"]},"excludes":{"minKernel":"4.8"}},
{"name":"write","action":"SCMP_ACT_ERRNO","errnoRet":38}]})"};

const std::vector<std::string> kStreams = {
    "one\\\\two", std::string("{}\0{\"a\":1}\0", 11), std::string(64, '\0'), std::string(200, 'x'),
    std::string("{\"method\":\"a.b\"}\0\0\0{}\0\xff\xff\x01\x40\x03\x01\x80\x05\x07", 31)};

constexpr const char* kPolicy = R"(// all members
{"rules":[{"name":"a","users":["root",1000],"groups":[0],"allow":{"uids":[1,"5-6"],"gids":["7-7"],
"namespaces_joined":["net","time"],"namespaces_host":["mnt","pid","ipc","uts","cgroup","user"],
"network":["none","outbound","host"],"devices":["/dev/null","/dev/tty"],"capabilities":["CAP_KILL"],
"real_time":true,"nice":-20,"rlimits":{"RLIMIT_NOFILE":10,"RLIMIT_CORE":"unlimited"},
"unfiltered_seccomp":true,"set_uid_files":true,"detach":false},"require":{"namespaces":["mnt"],"no_new_privs":true,
"seccomp_baseline":true},"quota":{"jobs":1,"connections":0,"spawns_per_s":3,"fds_in_flight":4}},
{"name":"b"}],"quota":{"jobs":5},"max_connections":1,"max_verdicts_per_uid":2,"keep_verdicts_s":3,
"spare_fronts":4,"allow_confined_callers":true,"cgroup":"v2"})";

// A caller's own plain process: what `authorise` accepts.
plan::Builder plain() {
  plan::Builder plan;
  plan->argv = plan.texts(std::vector<std::string>{"/bin/true", "-x"});
  plan->executable = plan.text("/bin/true");
  plan->umask = 022;
  plan->identity = {1000, 1000, 1000, 1000, 1000, 1000, {}, 1, 0};
  plan->identity.groups = plan.span(std::vector<uint32_t>{1000, 1001});
  for (plan::Rlimit& limit : plan->rlimits) limit = {0, 0, 1, 0};
  plan->request_json = plan.text("{}");
  plan->degraded = plan.text("[\"ioprio\"]");
  return plan;
}

std::string boxed() {
  using plan::Join, plan::MountKind, plan::Op, plan::Use;
  plan::Builder plan = plain();
  plan->flags = plan::kNoNewPrivs | plan::kSearchPath | plan::kLoopbackUp | plan::kTimeOffsets;
  plan->profile = plan.text("default");
  plan->name = plan.text("name");
  plan->idempotency_key = plan.text("key");
  plan->search = plan.text("/usr/bin:/bin");
  plan->cwd = plan.text("/");
  plan->hostname = plan.text("box");
  plan->domainname = plan.text("example");
  plan->env = plan.texts(std::vector<std::string>{"PATH=/bin", "HOME=/"});
  plan->descriptors = plan.span(std::vector<plan::Descriptor>{{Use::payload, 0},
                                                              {Use::executable, 0},
                                                              {Use::cwd, 0},
                                                              {Use::mount, 0},
                                                              {Use::namespace_join, 0}});
  plan->executable_descriptor = 1;
  plan->cwd_descriptor = 2;
  plan::Action open{Op::open, 1, 0, 0, 0644, plan::kNone, plan.text("/dev/null"), 0, 0};
  plan::Action receive{Op::receive, 0, 0, 0, 0, 0, plan.text(""), 1, 0};
  plan->actions = plan.span(std::vector<plan::Action>{open, receive});
  for (plan::NamespaceChoice& choice : plan->namespaces) choice = {Join::fresh, plan::kNone, {}};
  plan->namespaces[static_cast<uint32_t>(plan::Namespace::user)] = {Join::descriptor, 4, {}};
  plan::Mount bind{MountKind::bind, plan::kMountReadOnly, 3, 0, 0, 0, plan.text("/"),
                   plan.text("/"),  plan.text("")};
  plan::Mount tmpfs{MountKind::tmpfs, 0,  plan::kNone,       01777,
                    1 << 20,          16, plan.text("/tmp"), plan.text(""),
                    plan.text("")};
  plan->mounts = plan.span(std::vector<plan::Mount>{bind, tmpfs});
  plan->sysctls = plan.span(std::vector<plan::Sysctl>{
      {plan.text("net/ipv4/ip_unprivileged_port_start"), plan.text("0")}});
  plan->tags = plan.span(std::vector<plan::Tag>{{plan.text("k"), plan.text("v")}});
  plan->flags |= plan::kOutbound;
  plan->published = plan.span(std::vector<plan::Published>{
      {{127, 0, 0, 1}, plan::kInet, 0, 80, 8080}, {{}, plan::kInet6, 1, 53, 53}});
  return plan.finish();
}

std::string mapped() {
  plan::Builder plan = plain();
  plan->namespaces[static_cast<uint32_t>(plan::Namespace::user)].join = plan::Join::fresh;
  plan->uid_map = plan.span(std::vector<plan::IdMap>{{0, 1000, 1}});
  plan->gid_map = plan.span(std::vector<plan::IdMap>{{0, 1000, 1}, {1, 1001, 1}});
  return plan.finish();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: seeds PART DIRECTORY\n";
    return 2;
  }
  const std::string part = argv[1];
  int number = 0;
  const auto write = [&](std::string head, const std::string& rest) {
    std::ofstream out(std::string(argv[2]) + "/seed-" + std::to_string(number++));
    out << head << rest;
    if (!out.flush()) throw std::runtime_error("cannot write a seed");
  };
  if (part == "merge")
    for (const char* layers : kLayers) write("", layers);
  if (part == "policy") write("", kPolicy);
  if (part == "seccomp")
    for (const char* filter : kFilters) write("", filter);
  if (part != "protocol") return 0;
  for (const std::string& stream : kStreams) write("0", stream);
  for (const char* text : kTexts) write("1", text);
  for (const std::string& block : {plain().finish(), boxed(), mapped()}) {
    if (cloister::plan::check(block.data(), block.size()) != cloister::plan::Flaw::none) {
      std::cerr << "seeds: a Plan that should be accepted is not\n";
      return 1;
    }
    write(std::string("2\x16\x7f", 3), block);
  }
}
