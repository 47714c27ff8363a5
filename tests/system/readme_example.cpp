#include <cloister/client.hpp>
#include <cstdio>

int main() {
  auto service = cloister::Client::connect().value();
  cloister::Request request;
  request.argv = {"sh", "-c", "echo I am $$; exit 3"};
  request.standard_output = cloister::PassedFd{0};
  const int descriptors[] = {1};
  const cloister::Verdict verdict = service.run(request, descriptors).value();
  std::printf("%s: %s\n", verdict.id.c_str(), verdict.summary().c_str());
  return verdict.folded_exit_code();
}
