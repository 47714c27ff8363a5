#!/bin/sh
# Headless Chromium, with its own sandbox: it makes user namespaces inside the box.
. "${0%/*}/job.sh"
needs chromium
serve

page() {
  cat >"$work/page.html" <<'EOF'
<html><body><p id="a">nothing</p>
<script>document.getElementById("a").textContent = "answer " + 6 * 7;</script></body></html>
EOF
  # Processes of nested pid namespaces have more than one number there, proc(5).
  cat >"$work/render" <<'EOF'
chromium --headless --disable-gpu --no-first-run --disable-background-networking \
  --disable-component-update "$@" "file://$PWD/page.html" >dom 2>errors &
chromium=$!
while kill -0 $chromium 2>/dev/null; do
  grep -qsE '^NSpid:.*[0-9]+[[:space:]]+[0-9]+' /proc/[0-9]*/status && : >nested
  sleep 0.05
done
wait $chromium
EOF
  chown -R "$user:$user" "$work"
  job browser 'sh ./render --dump-dom'
  check "chromium ends with 0" exited 0
  check "it ran the page's script" grep -q '<p id="a">answer 42</p>' "$work/dom"
  check "in a sandbox of its own" test -e "$work/nested"
  job browser 'sh ./render --screenshot=picture.png --window-size=320,200'
  check "it paints" eval '[ "$(head -c 8 "$work/picture.png" | od -An -tx1 | tr -d " ")" = 89504e470d0a1a0a ]'
  job browser 'df -B1 --output=size /dev/shm | tail -n 1 | tr -d " " >shm'
  check "/dev/shm has 1 GiB" holds "$work/shm" 1073741824
}
in_each_mode page
finished
