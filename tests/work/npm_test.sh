#!/bin/sh
# npm ci --offline: one dependency, from a cache that is bound read-only.
. "${0%/*}/job.sh"
needs node npm
serve

dependency=$directory/answer
mkdir "$dependency" "$directory/cache"
cat >"$dependency/package.json" <<'EOF'
{"name": "answer", "version": "1.0.0", "main": "index.js",
 "scripts": {"install": "node install.js"}}
EOF
echo 'module.exports = () => require("./made.json").answer;' >"$dependency/index.js"
echo 'require("fs").writeFileSync("made.json", JSON.stringify({answer: 42}));' \
  >"$dependency/install.js"
(cd "$directory" && npm pack --silent --cache "$directory/cache" "$dependency" &&
  npm cache add --cache "$directory/cache" "$directory/answer-1.0.0.tgz") >/dev/null
integrity=sha512-$(node -p 'require("crypto").createHash("sha512")
  .update(require("fs").readFileSync(process.argv[1])).digest("base64")' "$directory/answer-1.0.0.tgz")
chmod -R go+rX "$directory/cache"

package() {
  echo '{"name": "small", "version": "1.0.0", "dependencies": {"answer": "1.0.0"}}' \
    >"$work/package.json"
  # Of a registry that does not exist: what npm finds it can only find in the cache.
  cat >"$work/package-lock.json" <<EOF
{"name": "small", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
  "": {"name": "small", "version": "1.0.0", "dependencies": {"answer": "1.0.0"}},
  "node_modules/answer": {"version": "1.0.0", "hasInstallScript": true,
    "resolved": "https://registry.invalid/answer/-/answer-1.0.0.tgz",
    "integrity": "$integrity"}}}
EOF
  chown -R "$user:$user" "$work"
  job build 'npm ci --offline --no-audit --no-fund &&
    node -e "console.log(require(\"answer\")())" >result' --ro "$directory/cache:~/.npm"
  check "npm installs from the cache" exited 0
  check "the dependency's own script ran" holds "$work/node_modules/answer/made.json" '{"answer":42}'
  check "the result is in the workspace" holds "$work/result" 42
  rm -rf "$work/node_modules"
  job build 'npm ci --offline --no-audit --no-fund'
  check "without the cache there is none" exited 1
  check "npm says that it is not there" said ENOTCACHED
}
in_each_mode package
finished
