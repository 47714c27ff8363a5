#!/bin/sh
# cloister-init calls nothing but the kernel, through one instruction, by the
# numbers of one table.
set -eu
init=${1:?the program} sources=${2:?the folder daemon/init}

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

# A sanitizer or coverage build of the rest must not have reached it either.
allowed='(bool )?cloister::(init|plan)::|mem(cpy|move|set|cmp)$|_start$|cloister_init$|_end$|_edata$|__bss_start$'
symbols=$(nm -C "$init" | sed -E 's/^[0-9a-f]* *//')
expect "the program has symbols to look at" \
  "$(printf '%s\n' "$symbols" | grep -c 'T cloister::init::fail(')" 1
expect "nothing is undefined" "$(nm -u "$init")" ""
expect "every symbol is init's own, the Plan's check, or a memory function" \
  "$(printf '%s\n' "$symbols" | grep -vE "^[A-Za-z] (guard variable for )?($allowed)" || true)" ""

segments=$(readelf -lW "$init")
expect "there is no interpreter and no dynamic section" \
  "$(printf '%s\n' "$segments" | grep -E 'INTERP|DYNAMIC' || true)" ""
expect "nothing is writable and executable" \
  "$(printf '%s\n' "$segments" | grep -E '^ +(LOAD|GNU_STACK).* RWE ' || true)" ""
expect "there are no constructors that nobody would run" \
  "$(readelf -SW "$init" | grep -E 'init_array|\.ctors' || true)" ""

expect "one instruction enters the kernel" \
  "$(objdump -d --no-show-raw-insn "$init" |
    awk '$2 == "syscall" || $2 == "sysenter" || $2 == "int" || $2 == "svc" { n++ } END { print n + 0 }')" 1
expect "system call numbers stand in one table" \
  "$(grep -lE '\b(__NR|SYS)_[a-z]' "$sources"/*.[ch]pp)" "$sources/syscall.hpp"
expect "the table names no call that init has no business with" \
  "$(grep -oE '__NR_[a-z0-9_]+' "$sources/syscall.hpp" |
    grep -E 'NR_(mount|chroot|ptrace|bpf|connect|listen|accept4?|reboot|swapon|init_module|finit_module|kexec_load|delete_module|open_by_handle_at|process_vm_.*|iopl|ioperm|unlinkat|renameat2?|linkat|truncate)$' || true)" ""

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
