#!/bin/sh
# The dependency directions of docs/architecture.md, read from the #include lines.
set -eu
cd "${1:?the source folder}"

passed=0 failed=0

# no_include NAME PATTERN FILES...: no file of these includes what matches.
no_include() {
  name=$1 pattern=$2
  shift 2
  if [ $# = 0 ]; then
    echo "FAILED $name (there are no such files)"
    failed=$((failed + 1))
    return
  fi
  if grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($pattern)" "$@"; then
    echo "FAILED $name"
    failed=$((failed + 1))
  else
    echo "ok $name"
    passed=$((passed + 1))
  fi
}

sources() { find "$@" -name '*.[ch]pp'; }

# only_include NAME PATTERN FILES...: all that these include in <> matches.
only_include() {
  name=$1 pattern=$2
  shift 2
  if grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<' "$@" | grep -vE "<($pattern)"; then
    echo "FAILED $name"
    failed=$((failed + 1))
  else
    echo "ok $name"
    passed=$((passed + 1))
  fi
}

# Paths of this project hold no spaces: the lists below may split.
# What is in the memory of cloisterd, cloister-init, -network, -relay and -sweep.
core=$(sources daemon/monitor daemon/init daemon/network daemon/relay daemon/sweep lib/plan lib/sys)
no_include "lib includes nothing of the programs" \
  '(\.\./)*(daemon|monitor|front|init)/' $(sources lib)
no_include "the command includes no header of the daemon" \
  '(\.\./)*(daemon|monitor|front|init)/' $(sources client)
no_include "what holds root's power includes no JSON library" 'nlohmann/' $core
no_include "what holds root's power includes no libseccomp and no user database" \
  '(seccomp|pwd|grp|netdb)\.h' $core
no_include "the monitor includes nothing of the front, init or the request" \
  '(\.\./)*(daemon/)?(front|init|network|request|varlink|resolve)/' $(sources daemon/monitor)
no_include "the sweeper includes nothing but lib/sys" \
  '(\.\./)*(daemon|monitor|front|init|plan|request|varlink|resolve|client)/' $(sources daemon/sweep)
no_include "the relay includes nothing but lib/sys and lib/plan" \
  '(\.\./)*(daemon|monitor|front|init|request|varlink|resolve|client)/' $(sources daemon/relay)
no_include "what reads the configuration includes nothing but lib/sys and lib/plan" \
  '(\.\./)*(daemon|monitor|front|init|request|varlink|resolve|client)/' $(sources daemon/config)
only_include "init and the network process include the kernel's headers and no library's" \
  'linux/|asm/|stdint\.h|stddef\.h' $(sources daemon/init daemon/network)

# linux/ioprio.h of Linux 6.1.192 names a parameter `class`.
no_include "U25: no header of the kernel's is included that some version of it makes no C++" \
  'linux/ioprio\.h' $(sources lib client daemon tests)

# Later headers may have a macro of that name.
if grep -nE 'constexpr [a-z_:0-9 ]+ [A-Z0-9]{2,}_[A-Z_0-9]+ *=' $(sources lib client daemon tests); then
  echo "FAILED U25: no constant of ours has a name of the kernel's"
  failed=$((failed + 1))
else
  echo "ok U25: no constant of ours has a name of the kernel's"
  passed=$((passed + 1))
fi

# layers WHERE LAYER...: the highest first; each includes itself and those after it.
layers() {
  where=$1 forbidden=
  shift
  for layer in "$@"; do
    if [ -n "$forbidden" ]; then
      no_include "$where/$layer includes no layer above it" "(\.\./)*($forbidden)/" \
        $(sources "$where/$layer")
    fi
    forbidden="${forbidden:+$forbidden|}$layer"
  done
}
layers lib client resolve varlink request plan sys
no_include "the library includes nothing of what only the front needs" '(\.\./)*resolve/' \
  $(sources lib/client)
layers daemon/monitor life config decide admit host

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
