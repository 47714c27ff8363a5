// The tree of a Plan: what is opened as the client for it, and what is refused.
// Runs as anyone; root makes itself nobody where rights are the point.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "plan/places.hpp"
#include "resolving.hpp"

using namespace cloister;
using namespace cloister::front;
using namespace cloister::front::test;

TEST_CASE("a scratch directory is in memory unless it is asked for on disk") {
  const Made made = make(R"("mounts": [{"at": "/d", "scratch": {"on": "disk"}},
                              {"at": "/m", "scratch": {"on": "memory"}}, {"at": "/n", "scratch": {}}])");
  CHECK((made.mount("/d")->flags & plan::kMountOnDisk) != 0);
  CHECK((made.mount("/m")->flags & plan::kMountOnDisk) == 0);
  CHECK((made.mount("/n")->flags & plan::kMountOnDisk) == 0);
}

TEST_CASE("more binds than descriptors may be open are refused by the name of the limit") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  std::string mounts = "\"mounts\": [";
  for (int i = 0; i < 100; ++i)
    mounts +=
        (i ? ", " : "") + std::string(R"({"bind": "/usr", "at": "/b)") + std::to_string(i) + "\"}";
  rlimit few = before;
  few.rlim_cur = 64;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const auto resolved = try_resolve(mounts + "]");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(resolved.has_value());
  CHECK(resolved.error().field.starts_with("mounts./b"));
  CHECK(resolved.error().error == EMFILE);
  CHECK(resolved.error().reason.find("RLIMIT_NOFILE of the service is 64") != std::string::npos);
}

TEST_CASE("an outbound job gets a resolv.conf where that of its root leads to") {
  if (::access("/etc/resolv.conf", R_OK) != 0) SKIP("this host has no resolver");
  char root[] = "/tmp/cloister-root-XXXXXX";
  REQUIRE(::mkdtemp(root));
  REQUIRE(::mkdir((std::string(root) + "/etc").c_str(), 0755) == 0);
  const std::string link = std::string(root) + "/etc/resolv.conf";
  const std::string members = R"("profile": "none", "namespaces": {"mnt": "new"}, "root": ")" +
                              std::string(root) + R"(", "network": {"outbound": {}})";
  const auto is_file = [](const plan::Mount* mount) {
    return mount && mount->kind == plan::MountKind::file;
  };
  CHECK(is_file(make(members).mount("/etc/resolv.conf")));
  for (const char* target : {"../run/a/b.conf", "/run/a/b.conf", "../../run/./a/b.conf"}) {
    CAPTURE(std::string(target));
    REQUIRE(::symlink(target, link.c_str()) == 0);
    CHECK(is_file(make(members).mount("/run/a/b.conf")));
    ::unlink(link.c_str());
  }
  // Where the request says what it is, it is that.
  const Made own =
      make(members + R"(, "mounts": [{"at": "/etc/resolv.conf", "bind": "/etc/resolv.conf"}])");
  CHECK(own.mount("/etc/resolv.conf")->kind == plan::MountKind::bind);
  CHECK(make(R"("profile": "none", "network": {"outbound": {}})")->mounts.count == 0);
  ::rmdir((std::string(root) + "/etc").c_str());
  ::rmdir(root);
}

TEST_CASE("bind sources are opened as the client, or refused") {
  const TempDir at;
  const std::string file = at.write("file", "x");
  const auto bind = [](const std::string& source, std::string_view more = "") {
    return "\"mounts\": [{\"at\": \"/data\", \"bind\": \"" + source + '"' + std::string(more) +
           "}]";
  };
  const Made made = make(bind(file));
  REQUIRE(made.mount("/data"));
  CHECK(made.mount("/data")->flags ==
        (plan::kMountReadOnly | plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive |
         plan::kMountIsFile));
  CHECK(made.text(made.mount("/data")->source) == file);
  CHECK((::fcntl(made.fd(made.mount("/data")->descriptor), F_GETFL) & O_PATH) != 0);
  fs::create_symlink("file", at / "link");
  const Made linked = make(bind(at / "link"));
  CHECK(linked.text(linked.mount("/data")->source) == file);
  CHECK(
      make(bind(at.path(), R"(, "access": "rw", "nosuid": false, "nodev": false, "recursive": false,
                                 "noexec": true, "noatime": true)"))
          .mount("/data")
          ->flags == (plan::kMountNoExec | plan::kMountNoAtime));

  CHECK(refused_as(bind(at / "missing"), "mounts./data").error == ENOENT);
  CHECK(make(bind(at / "missing", R"(, "optional": true)")).mount("/data") == nullptr);
  CHECK(make(bind(file + "/x", R"(, "optional": true)")).mount("/data") == nullptr);

  const Made passed = make(R"("mounts": [{"at": "/data", "bind": {"passed_fd": 0}}])",
                           fds(open_fd(at.path(), O_PATH)));
  CHECK(passed.text(passed.mount("/data")->source) == at.path());
  CHECK(passed.list(passed->descriptors)[passed.mount("/data")->descriptor].use ==
        plan::Use::mount);

  Caller caller = self();
  caller.known_home = at.path();
  const Made home = make(bind("~/file"), {}, caller);
  CHECK(home.text(home.mount("/data")->source) == file);
  caller.known_home = "";
  refused_as(bind("~/file"), "mounts./data", {}, caller);
}

TEST_CASE("what the client cannot read itself is not bound, opened by path or passed") {
  const TempDir at;
  const std::string secret = at.make("secret");
  at.write("secret/inside", "x");
  fs::permissions(secret, fs::perms::none);
  at.write("file", "x");
  fs::permissions(at / "file", fs::perms::none);
  auto held = open_fd(secret, O_PATH);
  std::optional<Nobody> nobody;
  if (::access((at / "file").c_str(), R_OK) == 0) nobody.emplace();
  CHECK(refused_as("\"mounts\": [{\"at\": \"/d\", \"bind\": \"" + secret + "\"}]", "mounts./d")
            .error == EACCES);
  CHECK(refused_as("\"mounts\": [{\"at\": \"/d\", \"bind\": \"" + (at / "secret/inside") +
                       "\", \"optional\": true}]",
                   "mounts./d")
            .error == EACCES);
  CHECK(
      refused_as("\"mounts\": [{\"at\": \"/d\", \"bind\": \"" + (at / "file") + "\"}]", "mounts./d")
          .error == EACCES);
  CHECK(refused_as(R"("mounts": [{"at": "/d", "bind": {"passed_fd": 0}}])", "mounts./d",
                   fds(std::move(held)))
            .error == EACCES);
  CHECK(refused_as("\"workspace\": {\"path\": \"" + secret + "\"}", "workspace.path").error ==
        EACCES);
  nobody.reset();
  fs::permissions(secret, fs::perms::owner_all);  // so that it can be removed
}

TEST_CASE("the other kinds of mounts keep their parameters") {
  const Made made = make(R"("namespaces": {"mnt": "new"}, "mounts": [
      {"at": "/t", "tmpfs": {"size": "1M", "inodes": 9, "mode": "0700"}, "access": "ro", "noexec": true},
      {"at": "/l", "symlink": "usr/bin"}, {"at": "/d", "dir": {"mode": "0711"}},
      {"at": "/s", "scratch": {}}])");
  const auto* tmpfs = made.mount("/t");
  CHECK((tmpfs->size == 1 << 20 && tmpfs->inodes == 9 && tmpfs->mode == 0700));
  CHECK(tmpfs->flags == (plan::kMountReadOnly | plan::kMountNoExec));
  CHECK(made.text(made.mount("/l")->data) == "usr/bin");
  CHECK(made.mount("/d")->mode == 0711);
  CHECK(made.mount("/s")->kind == plan::MountKind::scratch);
}

TEST_CASE("U1: what lies deeper is mounted later, from whatever field and layer it is") {
  const TempDir at;
  const std::string project = at.make("project");
  const Made made = make("\"workspace\": {\"path\": \"" + project + R"("}, "implied": ["workspace"],
      "masked_paths": [")" +
                         project + R"(/a/b/c"], "readonly_paths": [")" + project + R"(/a"],
      "mounts": [{"at": ")" +
                         project + R"(/a/b", "tmpfs": {}}, {"at": "/run/x/y", "tmpfs": {}},
                 {"at": "/run/x", "tmpfs": {}}])");
  std::vector<std::string> places;
  for (const auto& mount : made.list(made->mounts)) {
    const std::string place = made.text(mount.at);
    CHECK((places.empty() || plan::compare_places(places.back().c_str(), place.c_str()) < 0));
    places.push_back(place);
  }
  for (const char* place : {"", "/a", "/a/b", "/a/b/c"}) CHECK(made.mount(project + place));
  CHECK((made.mount(project + "/a/b")->flags & plan::kMountReadOnly) != 0);
  CHECK((made.mount(project + "/a")->flags & plan::kMountHolds) != 0);
  CHECK((made.mount("/run/x")->flags & plan::kMountReadOnly) == 0);
}

TEST_CASE("U1: of two at one place the higher layer has it, and two of one layer are refused") {
  const TempDir at;
  const std::string dir = at.make("dir");
  CHECK(make(R"("mounts": [{"at": "/var/run", "bind": ")" + dir + "\"}]").mount("/run")->kind ==
        (fs::is_symlink("/var/run") ? plan::MountKind::bind : plan::MountKind::tmpfs));
  const std::string linked = R"({"at": "/run/l", "symlink": "t/u"}, {"at": "/run/l/x", "tmpfs": {}},
                                {"at": "/run/t", "tmpfs": {}})";
  CHECK(make("\"mounts\": [" + linked + "]").mount("/run/t/u/x"));
  refused_as("\"mounts\": [" + linked + R"(, {"at": "/run/t/u/x", "tmpfs": {}}])",
             "mounts./run/t/u/x");
  CHECK(make("\"mounts\": [" + linked + R"(, {"at": "/run/t/u/x", "bind": "/usr"}],
             "implied": ["mounts./run/l/x"])")
            .mount("/run/t/u/x")
            ->kind == plan::MountKind::bind);
  refused_as(R"("masked_paths": ["/"])", "masked_paths./");
  fs::create_directory_symlink("/", at / "root");
  refused_as(R"("mounts": [{"at": "/run/t", "bind": ")" + at.path() +
                 R"("}, {"at": "/run/t/root", "tmpfs": {}}])",
             "mounts./run/t/root");
  CHECK((make(R"("readonly_paths": ["/"])").mount("/tmp")->flags & plan::kMountReadOnly) != 0);
  refused_as(R"("mounts": [{"at": "/run/x", "tmpfs": {}}], "masked_paths": ["/run/x"])",
             "masked_paths./run/x");
  const std::string workspace = "\"workspace\": {\"path\": \"" + dir +
                                "\"}, \"mounts\": [{\"at\": \"" + dir + R"(", "bind": "/usr"}])";
  refused_as(workspace, "workspace");
  CHECK((make(workspace + R"(, "implied": ["workspace"])").mount(dir)->flags &
         plan::kMountReadOnly) != 0);
  refused_as(
      R"("mounts": [{"at": "/run/secrets", "tmpfs": {}}], "secrets": {"a": {"passed_fd": 0}})",
      "secrets", fds(open_fd("/dev/null")));
}

TEST_CASE("the root, homes, what holds them and system directories are no workspace") {
  const TempDir at;
  Caller caller = self();
  caller.known_home = at.make("people/me");
  const std::string project = at.make("people/me/project");
  const auto workspace = [](const std::string& path) {
    return "\"workspace\": {\"path\": \"" + path + "\"}";
  };
  const Made made = make(workspace(project + "/./"), {}, caller);
  CHECK(made.mount(project) != nullptr);
  const Made home = make(workspace("~/project"), {}, caller);
  CHECK(home.text(home->cwd) == project);
  fs::create_symlink("/", at / "root");
  fs::create_symlink("me", at / "people/alias");
  for (const std::string& path :
       {std::string("/"), std::string("//"), at / "root", at / "people/me", at / "people",
        at / "people/alias", at.path(), std::string("/usr"), std::string("/usr/bin"),
        std::string("/etc"), std::string("/tmp"), std::string("/proc/self"),
        std::string("/dev/shm"), std::string("/sys/fs"), at / "root/usr", std::string("~")})
    refused_as(workspace(path), "workspace.path", {}, caller);
  CHECK(refused_as(workspace(at / "missing"), "workspace.path", {}, caller).error == ENOENT);
  at.write("file", "x");
  CHECK(refused_as(workspace(at / "file"), "workspace.path", {}, caller).error == ENOTDIR);
  const Made readonly =
      make("\"cwd\": \"/\", \"workspace\": {\"path\": \"" + project + "\", \"access\": \"ro\"}", {},
           caller);
  CHECK((readonly.mount(project)->flags & plan::kMountReadOnly) != 0);
  CHECK(readonly.text(readonly->cwd) == "/");
}
