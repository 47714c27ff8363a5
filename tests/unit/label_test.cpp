// Labels of security modules: which hold a process back, and how the next exec
// is told of one.
#include "admit/label.hpp"

#include "outcome.hpp"

using cloister::monitor::exec_word;
using cloister::monitor::is_confined;

TEST_CASE("a label that confines is told from one that does not") {
  for (const char* free :
       {"", "unconfined", "kernel", "_", "chrome (unconfined)", "/usr/bin/man (complain)",
        "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023",
        "system_u:system_r:unconfined_service_t:s0"}) {
    CAPTURE(std::string(free));
    CHECK_FALSE(is_confined(free));
  }
  for (const char* confined :
       {"/usr/bin/man (enforce)", "man_groff (kill)", "snap.firefox.firefox (enforce)", "?",
        "a//&b (mixed)", "staff_u:staff_r:staff_t:s0", "system_u:system_r:httpd_t:s0", "User",
        "a name with (brackets) (enforce)"}) {
    CAPTURE(std::string(confined));
    CHECK(is_confined(confined));
  }
}

TEST_CASE("AppArmor is told the profile, the others the label") {
  CHECK(exec_word("/usr/bin/man (enforce)") == "exec /usr/bin/man");
  CHECK(exec_word("a (b) (enforce)") == "exec a (b)");
  CHECK(exec_word("staff_u:staff_r:staff_t:s0") == "staff_u:staff_r:staff_t:s0");
}
