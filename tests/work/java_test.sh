#!/bin/sh
# javac and a JVM: threads, the collector, and a file.
. "${0%/*}/job.sh"
needs javac java
serve

program() {
  cat >"$work/Answer.java" <<'EOF'
import java.nio.file.*;
import java.util.stream.*;

public class Answer {
  record Part(int value) {}

  public static void main(String[] arguments) throws Exception {
    int sum = IntStream.range(0, 100_000).parallel().mapToObj(Part::new)
        .mapToInt(part -> part.value() % 2).sum();
    Thread thread = new Thread(() -> System.gc());
    thread.start();
    thread.join();
    if (!System.getProperty("user.name").equals(arguments[0])) throw new Exception("user.name");
    Files.writeString(Path.of("result"), sum == 50_000 ? "42" : "wrong");
  }
}
EOF
  chown -R "$user:$user" "$work"
  job build "javac Answer.java && java -Xmx128m -cp . Answer $user"
  check "javac compiles, and a JVM runs it" exited 0
  check "the result is in the workspace" holds "$work/result" 42
  check "the class is the user's" owned "$work/Answer.class"
}
in_each_mode program
finished
