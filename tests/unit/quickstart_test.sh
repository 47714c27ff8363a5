#!/bin/sh
# The job of client/quickstart.sh names sources by hand: it compiles, links and runs
# here as it stands there. Outside of a box; what that box is, other tests say.
set -eu
cd "${1:?the source folder}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command=$(sed -n '/^ *g++ .*\\$/,/[^\\]$/p' client/quickstart.sh | tr -d '\\\n')
program=$(printf '%s' "$command" | sed -n 's/.* -o \([a-z_]*\) .*/\1/p')
[ -n "$program" ] || { echo "FAILED quickstart.sh compiles no program any more" && exit 1; }
(sh -c "$(printf '%s' "$command" | sed "s, -o $program , -o $work/$program ,")")
"$work/$program" >"$work/log" || { cat "$work/log" && exit 1; }
grep -q '^outcome: [1-9]' "$work/log"
