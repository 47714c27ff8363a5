#!/bin/sh
# cloister-init and cloister-network call nothing but the kernel, through one
# instruction each, by the numbers of one table.
set -eu
init=${1:?cloister-init} network=${2:?cloister-network} sources=${3:?the folder daemon}

passed=0 failed=0

# expect NAME ACTUAL WANTED
expect() {
  if [ "$2" = "$3" ]; then
    echo "ok $1"
    passed=$((passed + 1))
  else
    printf 'FAILED %s: got\n%s\n' "$1" "$2"
    failed=$((failed + 1))
  fi
}

# A sanitizer or coverage build of the rest must not have reached them either.
allowed='(bool )?cloister::(init|plan)::|mem(cpy|move|set|cmp)$|_start$|cloister_main$|_end$|_edata$|__bss_start$'
for program in "$init" "$network"; do
  name=$(basename "$program")
  symbols=$(nm -C "$program" | sed -E 's/^[0-9a-f]* *//')
  expect "$name has symbols to look at" \
    "$(printf '%s\n' "$symbols" | grep -c 'T cloister::init::fail(')" 1
  expect "$name: nothing is undefined" "$(nm -u "$program")" ""
  expect "$name: every symbol is init's own, the Plan's check, or a memory function" \
    "$(printf '%s\n' "$symbols" | grep -vE "^[A-Za-z] (guard variable for )?($allowed)" || true)" ""
  segments=$(readelf -lW "$program")
  expect "$name: there is no interpreter and no dynamic section" \
    "$(printf '%s\n' "$segments" | grep -E 'INTERP|DYNAMIC' || true)" ""
  expect "$name: nothing is writable and executable" \
    "$(printf '%s\n' "$segments" | grep -E '^ +(LOAD|GNU_STACK).* RWE ' || true)" ""
  expect "$name: there are no constructors that nobody would run" \
    "$(readelf -SW "$program" | grep -E 'init_array|\.ctors' || true)" ""
  expect "$name: one instruction enters the kernel" \
    "$(objdump -d --no-show-raw-insn "$program" |
      awk '$2 == "syscall" || $2 == "sysenter" || $2 == "int" || $2 == "svc" { n++ } END { print n + 0 }')" 1
done
# What each is apart for.
expect "init has nothing of pasta's, cloister-network nothing of mounts" \
  "$(nm -C "$init" | grep -E 'pasta|close_metadata' || true)$(nm -C "$network" |
    grep -E 'attach_mounts|become_payload|load_filters|receive_descriptors' || true)" ""

expect "system call numbers stand in one table" \
  "$(grep -lE '\b(__NR|SYS)_[a-z]' "$sources"/init/*.[ch]pp "$sources"/network/*.[ch]pp)" \
  "$sources/init/syscall.hpp"
expect "the table names no call that init has no business with" \
  "$(grep -oE '__NR_[a-z0-9_]+' "$sources/init/syscall.hpp" |
    grep -E 'NR_(mount|chroot|ptrace|bpf|connect|listen|accept4?|reboot|swapon|init_module|finit_module|kexec_load|delete_module|open_by_handle_at|process_vm_.*|iopl|ioperm|unlinkat|renameat2?|linkat|truncate)$' || true)" ""

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
