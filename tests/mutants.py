"""What keeps the host or a verdict safe, and the test that watches over it (mutate.py)."""

AUTHORISE = "daemon/monitor/decide/authorise.cpp"
MOUNTS = "daemon/monitor/decide/authorise_mounts.cpp"
IDENTITY = "daemon/init/identity.cpp"

JUDGE = "tests/unit/authorise_test"
CHECK = "tests/unit/plan_check_test"
INIT = "tests/unit/init_test"
SERVICE = "tests/security/security-tests"

# Name, file, what stands there, what is put in its place, the test program, its case.
MUTANTS = [
    ("groups-are-not-shed dropped", AUTHORISE,
     "if (peer_.holds(CAP_SETGID) || id.ruid != peer_.uid) return true;", "return true;",
     JUDGE, "identity: groups-are-not-shed*"),
    ("filters-need-no-new-privs dropped", AUTHORISE,
     'return refuse("no_new_privs", Reason::filters_need_no_new_privs);', "return true;",
     JUDGE, "filters-need-no-new-privs*"),
    ("consistent() always true", AUTHORISE,
     "  bool consistent() {\n", "  bool consistent() {\n    if (h_.magic) return true;\n",
     JUDGE, "consistent:*"),
    ("own-rights of a device dropped", MOUNTS,
     'if (!opens) return denied(Reason::own_rights);', "(void)opens;",
     JUDGE, "devices:*own-rights*"),
    ("own-directories of an overlay dropped", MOUNTS,
     "if (mode == plan::Mode::system && fact.uid", "if (mode > plan::Mode::private_ && fact.uid",
     JUDGE, "*own-directories*"),
    ("end of a mount's ids not bounded by the job's map", MOUNTS,
     " || line.count > of.count - skipped", "",
     JUDGE, "mounts: ids-of-the-job*"),
    ("a caller that is not wholly root keeps its powers", "daemon/monitor/admit/peer.cpp",
     'all_uids_are(field(status, "\\nUid:"), 0)', '!all_uids_are(field(status, "\\nUid:"), 1)',
     JUDGE, "a peer that is not wholly root*"),
    ("bound on kept verdicts evicts other users'", "daemon/monitor/life/job_table.cpp",
     "forget(owner.cut.empty() ? owner.whole.front() : owner.cut.front());",
     "for (auto& [user, other] : owners_)\n"
     "      if (!other.whole.empty()) {\n        forget(other.whole.front());\n        break;\n      }",
     SERVICE, "max_verdicts_per_uid*"),
    ("verdicts never expire", "daemon/monitor/life/job_table.cpp",
     "if (left.count() > 0)", "if (left.count() > -100'000)",
     SERVICE, "keep_verdicts_s*"),
    ("PR_SET_DUMPABLE before the change of ids left out", IDENTITY,
     "  must(job, Step::setresuid, call(Call::prctl, PR_SET_DUMPABLE, 0));\n", "",
     INIT, "between the change of ids*"),
    ("flags below a recursive bind not compared", "daemon/init/verify_mounts.cpp",
     "entry.wanted = entry.below = parent ? parent->below : 0;", "entry.wanted = entry.below = 0;",
     INIT, "liar: a mount below a recursive bind*"),
    ("saved uid not compared", IDENTITY,
     " || s != want.suid)\n", ")\n",
     INIT, "liar: an id that is not*"),
    ("groups compared by their number alone", IDENTITY,
     "if (!in_groups(job.plan().at(want.groups, i), count))",
     "if (!in_groups(job.plan().at(want.groups, i), count) && count > plan::kMaxGroups)",
     INIT, "liar: a group*"),
    ("end of a mount's ids not bounded, in init", "daemon/init/idmap.cpp",
     " || line.count > of.count - skipped", "",
     INIT, "liar: a mount whose ids end*"),
    ("use of a named descriptor not compared", "lib/plan/check.cpp",
     "plan_.at(plan_->descriptors, index).use == use", "(use <= Use::count_)",
     CHECK, "check: each place that names a descriptor*"),
]
