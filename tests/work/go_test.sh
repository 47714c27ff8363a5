#!/bin/sh
# go build and go test: a module of its own, no network.
. "${0%/*}/job.sh"
needs go gcc
serve

module() {
  printf 'module example.test/answer\n\ngo 1.19\n' >"$work/go.mod"
  cat >"$work/answer.go" <<'EOF'
package main

import (
	"fmt"
	"net"
)

// Answer goes over a connection of its own network and back.
func Answer() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		return 0, err
	}
	go func() {
		if connection, err := listener.Accept(); err == nil {
			fmt.Fprintln(connection, 42)
			connection.Close()
		}
	}()
	connection, err := net.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		return 0, err
	}
	var answer int
	_, err = fmt.Fscanln(connection, &answer)
	return answer, err
}

func main() {
	answer, err := Answer()
	fmt.Println(answer, err)
}
EOF
  cat >"$work/answer_test.go" <<'EOF'
package main

import "testing"

func TestAnswer(t *testing.T) {
	if answer, err := Answer(); answer != 42 || err != nil {
		t.Fatal(answer, err)
	}
}
EOF
  chown -R "$user:$user" "$work"
  job build 'go version && go build -o answer . && go test . && ./answer >result' \
    -e GOFLAGS=-mod=mod -e GOPROXY=off
  check "go builds and tests" exited 0
  check "go's test passed" said '^ok[[:space:]]+example.test/answer'
  check "the program talked over its own loopback, at a low port" holds "$work/result" "42 <nil>"
}
in_each_mode module
finished
