// The order of mounts as the monitor sees it, whatever the front has sorted.
#include <string>
#include <vector>

#include "decide/authorise_mounts.hpp"
#include "outcome.hpp"
#include "plan/builder.hpp"
#include "plan/places.hpp"
#include "plan/refusal_text.hpp"

using namespace cloister;
using namespace cloister::monitor;

namespace {

plan::Refusal decide(const std::vector<std::string>& places) {
  plan::Builder builder;
  std::vector<plan::Mount> mounts;
  for (const std::string& place : places) {
    plan::Mount mount{};
    mount.kind = plan::MountKind::tmpfs;
    mount.at = builder.text(place);
    mounts.push_back(mount);
  }
  builder->mounts = builder.span(mounts);
  const std::string block = builder.finish();
  return authorise_mounts(Peer{}, Rule{}, plan::View(block.data()), IdDecision{});
}

}  // namespace

TEST_CASE("U1: a plan in which a later mount hides an earlier one is refused") {
  using List = std::vector<std::string>;
  for (const List& list : {List{"/a/b", "/a"}, List{"/a", "/a"}, List{"/a", "/"}, List{"/", "/"},
                           List{"/a/b/c", "/x", "/a/b"}, List{"/", "/a", "/b", "/a"}}) {
    CAPTURE(list.front());
    const plan::Refusal refusal = decide(list);
    CHECK(refusal.kind == plan::RefusalKind::invalid);
    CHECK(plan::rule_of(refusal) == "a-mount-hides-another");
  }
  for (const List& list : {List{}, List{"/"}, List{"/", "/a", "/a/b"}, List{"/a/b", "/a-b", "/ab"},
                           List{"/x/y/z", "/a", "/b/c"}})
    CHECK(decide(list).kind == plan::RefusalKind::none);
}

TEST_CASE("U1: what is out of order and very deep is not looked through") {
  std::string deep = "/b";
  for (int i = 0; i < 32; ++i) deep += "/b";
  CHECK(decide({deep, "/a"}).kind == plan::RefusalKind::invalid);
  CHECK(decide({"/a", deep}).kind == plan::RefusalKind::none);
  CHECK(decide({deep.substr(2), "/a"}).kind == plan::RefusalKind::none);
}

TEST_CASE("U1: a place has one spelling, and a parent comes first") {
  for (const char* good : {"/", "/a", "/a/b", "/.a", "/...", "/a/..b"}) CHECK(plan::is_place(good));
  for (const char* bad : {"", "a", "//", "/a/", "/a//b", "/.", "/a/.", "/..", "/a/../b", "/./a"}) {
    CAPTURE(std::string(bad));
    CHECK_FALSE(plan::is_place(bad));
  }
  CHECK(plan::compare_places("/", "/a") < 0);
  CHECK(plan::compare_places("/b", "/a/a") < 0);
  CHECK(plan::compare_places("/a/b", "/a/b") == 0);
  CHECK(plan::compare_places("/a/c", "/a/b") > 0);
  CHECK(plan::lies_in("/a/b", "/a"));
  CHECK(plan::lies_in("/a", "/a"));
  CHECK(plan::lies_in("/a", "/"));
  CHECK_FALSE(plan::lies_in("/ab", "/a"));
  CHECK_FALSE(plan::lies_in("/a", "/a/b"));
}
