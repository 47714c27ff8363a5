#include "resolve/resolve.hpp"

#include <sys/resource.h>

#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>

#include "plan/view.hpp"
#include "resolve/draft.hpp"
#include "sys/names.hpp"

namespace cloister::front {
namespace {

constexpr const char* kDefaultSearch = "/bin:/usr/bin";  // confstr(3), _CS_PATH

void resolve_labels(Draft& draft, const Asked& asked) {
  const Request& request = draft.request;
  plan::Header& header = draft.plan.header();
  header.method = asked.method;
  header.profile = draft.plan.text(*request.profile);
  header.name = draft.plan.text(request.name.value_or(""));
  header.idempotency_key = draft.plan.text(request.idempotency_key.value_or(""));
  header.request_digest = asked.request_digest;
  header.request_json = draft.plan.text(shown_request(request));
  header.degraded = draft.plan.text(nlohmann::json(draft.effective.degraded).dump());
  std::vector<plan::Tag> tags;
  for (const auto& [key, value] : request.tags)
    tags.push_back({draft.plan.text(key), draft.plan.text(value)});
  header.tags = draft.plan.span(tags);
}

MaybeProblem resolve_cwd(Draft& draft) {
  plan::Header& header = draft.plan.header();
  const auto& cwd = draft.request.cwd;
  if (const auto* passed = cwd ? std::get_if<PassedFd>(&*cwd) : nullptr) {
    const auto descriptor = draft.descriptors.pass("cwd.passed_fd", passed->index, plan::Use::cwd);
    if (!descriptor) return descriptor.error();
    header.cwd_descriptor = *descriptor;
    return std::nullopt;
  }
  std::string path = draft.cwd_of_workspace.empty() ? "/" : draft.cwd_of_workspace;
  if (cwd) path = expand_inside(draft, std::get<std::string>(*cwd));
  if (path.empty()) return refused("cwd", "needs a home directory, and this user has none");
  header.cwd = draft.plan.text(path);
  return std::nullopt;
}

}  // namespace

static std::string expand(const std::string& home, const std::string& path) {
  if (!path.starts_with('~')) return path;
  if (home.size() < 2 || home[0] != '/') return "";
  return request::normal_path(home + path.substr(1));
}

std::string expand_home(const Draft& draft, const std::string& path) {
  return path.starts_with('~') ? expand(home_outside(draft), path) : path;
}

std::string expand_inside(const Draft& draft, const std::string& path) {
  return path.starts_with('~') ? expand(home_inside(draft), path) : path;
}

Problem failed_call(std::string field, std::string what, int error) {
  std::string reason = std::move(what) + ": " + std::string(sys::errno_text(error));
  rlimit files{};
  if (error == EMFILE && ::getrlimit(RLIMIT_NOFILE, &files) == 0)
    reason += " (RLIMIT_NOFILE of the service is " + std::to_string(files.rlim_cur) + ")";
  return {Problem::Kind::failed,  std::move(field),
          std::move(reason),      "",
          sys::errno_name(error), error};
}

MaybeProblem resolve_program(Draft& draft) {
  const Request& request = draft.request;
  plan::Header& header = draft.plan.header();
  const PathOrFd executable = request.executable.value_or(PathOrFd(request.argv[0]));
  if (const auto* passed = std::get_if<PassedFd>(&executable)) {
    const auto descriptor =
        draft.descriptors.pass("executable.passed_fd", passed->index, plan::Use::executable);
    if (!descriptor) return descriptor.error();
    header.executable_descriptor = *descriptor;
  } else {
    const std::string& path = std::get<std::string>(executable);
    if (path.size() >= plan::kMaxPath)
      return refused(request.executable ? "executable" : "argv[0]", "is too long for a path",
                     "at most " + std::to_string(plan::kMaxPath - 1) + " bytes",
                     std::to_string(path.size()));
    header.executable = draft.plan.text(path);
    if (*request.search_path && path.find('/') == std::string::npos)
      header.flags |= plan::kSearchPath;
  }
  const auto path = request.env.find("PATH");
  header.search = draft.plan.text(path == request.env.end() ? kDefaultSearch : path->second);
  header.argv = draft.plan.texts(request.argv);
  std::map<std::string, std::string> variables = request.env;
  set_home(draft, variables);
  std::vector<std::string> env;
  for (const auto& [name, value] : variables) env.push_back(name + '=' + value);
  header.env = draft.plan.texts(env);
  return resolve_cwd(draft);
}

uint64_t digest_of(const Request& request) {
  // FNV-1a. Only requests of one client under one key are compared: whoever
  // makes two of them collide fools nobody else.
  uint64_t digest = 0xcbf29ce484222325;
  for (const char c : to_json(request)) {
    digest ^= static_cast<unsigned char>(c);
    digest *= 0x100000001b3;
  }
  return digest;
}

std::string shown_request(const Request& effective) {
  nlohmann::json shown = request::to_document(effective);
  if (shown.contains("env"))
    for (auto& value : shown["env"]) value = nullptr;
  if (shown["stdin"].is_object())
    for (const char* content : {"text", "base64"})
      if (shown["stdin"].contains(content)) shown["stdin"][content] = nullptr;
  if (shown.contains("mounts"))
    for (auto& mount : shown["mounts"])
      for (const char* content : {"text", "base64"})
        if (mount.contains("file") && mount["file"].contains(content))
          mount["file"][content] = nullptr;
  return shown.dump();
}

request::Result<Resolved> resolve(const request::Effective& effective,
                                  std::vector<sys::UniqueFd> passed, const Caller& caller,
                                  const Asked& asked) {
  const auto start = std::chrono::steady_clock::now();
  Draft draft{effective, effective.request, caller, Descriptors(std::move(passed))};
  resolve_labels(draft, asked);
  for (const auto part :
       {resolve_identity, resolve_namespaces, resolve_mounts, check_leased, resolve_streams,
        resolve_program, resolve_numbers, resolve_privileges, resolve_landlock, resolve_seccomp})
    if (auto problem = part(draft)) return *std::move(problem);
  if (auto problem = draft.descriptors.unused()) return *std::move(problem);
  draft.plan->descriptors = draft.plan.span(draft.descriptors.list());

  const auto spent = std::chrono::steady_clock::now() - start;
  draft.plan->parse_us = asked.parse_us;
  draft.plan->resolve_us =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(spent).count());
  Resolved resolved{draft.plan.finish(), draft.descriptors.take(), std::move(draft.notes),
                    std::move(draft.warnings), std::move(draft.mount_fields)};
  if (resolved.plan_block.size() > plan::kMaxBytes)
    return refused("", "is too large",
                   "a Plan of at most " + std::to_string(plan::kMaxBytes) + " bytes",
                   std::to_string(resolved.plan_block.size()));
  return resolved;
}

}  // namespace cloister::front
