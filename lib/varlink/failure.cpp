// A failed step in plain words: which element of the request, what went wrong,
// what to do about it.
#include <signal.h>

#include <string>
#include <string_view>

#include "plan/hints.hpp"
#include "plan/namespaces.hpp"
#include "request/words.hpp"
#include "sys/names.hpp"
#include "varlink/render.hpp"

namespace cloister::varlink {
namespace {

using plan::Element;

// The element at fault: its field of the request, and its own name for people.
struct Subject {
  std::string field;
  std::string text;
};

std::string quoted(const plan::View& job, plan::Text text) {
  if (text.length == 0) return {};
  return "\"" + std::string(job.c_str(text), text.length) + "\"";
}

std::string indexed(const char* field, uint32_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

Subject action_subject(const plan::Failure& failure, const plan::View* job) {
  if (failure.index == plan::kNone) return {"", "stdin, stdout or stderr"};
  Subject subject{indexed("file_actions", failure.index), {}};
  if (job == nullptr) return subject;
  for (uint32_t i = 0; i < job->header().actions.count; i++) {
    const auto& action = job->at(job->header().actions, i);
    if (action.index != failure.index) continue;
    subject.text = action.path.length != 0 ? quoted(*job, action.path)
                                           : "descriptor " + std::to_string(action.fd);
    break;
  }
  return subject;
}

Subject executable_subject(const plan::View* job) {
  if (job == nullptr) return {"executable", {}};
  const plan::Header& header = job->header();
  if (header.executable_descriptor != plan::kNone && header.executable.length == 0)
    return {"executable", "the passed descriptor"};
  const std::string_view path(job->c_str(header.executable), header.executable.length);
  const bool named_by_argv =
      header.argv.count != 0 &&
      path == std::string_view(job->c_str(job->at(header.argv, 0)), job->at(header.argv, 0).length);
  return {named_by_argv ? "argv[0]" : "executable", quoted(*job, header.executable)};
}

Subject mount_subject(const plan::Failure& failure, const plan::View* job) {
  const char* field = plan::field_of(failure.step);
  if (failure.index == plan::kNone) return {field, {}};
  if (job == nullptr || failure.index >= job->header().mounts.count)
    return {indexed(field, failure.index), {}};
  const auto& mount = job->at(job->header().mounts, failure.index);
  // Devices, secrets and covers are mounts of the Plan as well; in the request they
  // have fields of their own.
  const plan::MountTraits& traits = plan::traits_of(mount.kind);
  Subject subject{traits.field, quoted(*job, mount.at)};
  const bool list = traits.origin == plan::Origin::cover || mount.kind == plan::MountKind::device;
  const std::string_view at(job->c_str(mount.at), mount.at.length);
  if (mount.kind == plan::MountKind::secret)
    subject.field += '.' + std::string(at.substr(at.rfind('/') + 1));
  else if (!list)
    subject.field += '.' + std::string(at);
  if (mount.source.length != 0) subject.text += " from " + quoted(*job, mount.source);
  return subject;
}

Subject port_subject(const char* field, uint32_t index, const plan::View* job) {
  if (job == nullptr || index >= job->header().published.count) return {field, {}};
  const auto& port = job->at(job->header().published, index);
  return {indexed(field, index),
          (port.udp ? "UDP port " : "TCP port ") + std::to_string(port.host_port) + " of the host"};
}

Subject subject_of(const plan::Failure& failure, const plan::View* job) {
  const plan::StepInfo step = plan::describe(failure.step);
  const char* const field = plan::field_of(failure.step);
  const uint32_t index = failure.index;
  switch (step.element) {
    case Element::none: return {field, {}};
    case Element::executable:
      // Of SIGSYS, before there was a program to die of it.
      if (failure.detail == SIGSYS) return {"seccomp", "the filter"};
      return executable_subject(job);
    case Element::action: return action_subject(failure, job);
    case Element::cwd: return {field, job == nullptr ? "" : quoted(*job, job->header().cwd)};
    case Element::mount: return mount_subject(failure, job);
    case Element::map:
      if (index == 0) return {"uid_map", "newuidmap(1)"};
      if (index == 1) return {"gid_map", "newgidmap(1)"};
      return {field, {}};
    case Element::joined:
      return {index < plan::kNamespaces ? plan::kNamespaceTable[index].field : field, {}};
    case Element::path:
      if (job == nullptr || index >= job->header().landlock.paths.count) return {field, {}};
      return {indexed("landlock.paths", index),
              quoted(*job, job->at(job->header().landlock.paths, index).path)};
    case Element::capability: {
      const char* word = request::name_of(request::capabilities(), index);
      return {field, index == plan::kNone || word == nullptr ? "" : word};
    }
    case Element::rlimit: {
      const char* word = request::name_of(request::rlimits(), index);
      if (index == plan::kNone || word == nullptr) return {field, {}};
      return {std::string(field) + "." + word, word};
    }
    case Element::port: return port_subject(field, index, job);
    case Element::sysctl:
      if (job == nullptr || index >= job->header().sysctls.count) return {field, {}};
      return {field, quoted(*job, job->at(job->header().sysctls, index).path)};
  }
  return {field, {}};
}

}  // namespace

Failure make_failure(const plan::Failure& failure, const plan::View* job) {
  const auto info = plan::describe(failure.step);
  const Subject subject = subject_of(failure, job);
  Failure words;
  words.stage = plan::stage_name(info.stage);
  words.step = info.name;
  words.field = subject.field;
  if (failure.index != plan::kNone) words.index = failure.index;
  words.error_number = failure.error;
  words.errno_name = sys::errno_name(failure.error);
  words.message = info.doing;
  if (!subject.text.empty()) words.message += " (" + subject.text + ")";
  if (failure.error != 0) {
    words.message += ": ";
    words.message += sys::errno_text(failure.error);
  }
  if (failure.detail != 0) {
    const auto signal = sys::signal_name(static_cast<int>(failure.detail));
    if (!signal.empty()) words.message += "; the child was ended by " + signal;
  }
  words.hint = plan::hint_for(failure.step, failure.error);
  return words;
}

}  // namespace cloister::varlink
