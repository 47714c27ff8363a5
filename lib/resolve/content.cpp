// Bytes of the request that become files: in memory that nobody can change any
// more. Passed descriptors are read here and nowhere else: it may take as long
// as their other end likes.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string_view>

#include "resolve/mounts.hpp"

namespace cloister::front {
namespace {

constexpr size_t kMaxContent = 8u << 20;  // bytes; what RLIMIT_FSIZE of a front leaves room for
constexpr size_t kMaxSecret = 1u << 20;
constexpr auto kPatience = std::chrono::seconds(10);  // for the other end of a pipe

class Memory {
 public:
  explicit Memory(std::string field)
      : field_(std::move(field)),
        file_(::memfd_create("content", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    if (!file_) error_ = errno;
  }

  void append(std::string_view bytes) {
    while (error_ == 0 && !bytes.empty()) {
      const ssize_t more = ::write(file_.borrow(), bytes.data(), bytes.size());
      if (more < 0 && errno == EINTR) continue;
      if (more < 0) error_ = errno;
      if (more > 0) bytes.remove_prefix(static_cast<size_t>(more));
    }
  }

  // Read-only: whoever gets it cannot tell it from a small file.
  request::Result<sys::UniqueFd> seal() {
    constexpr int kAll = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (error_ == 0 && ::fcntl(file_.borrow(), F_ADD_SEALS, kAll) != 0) error_ = errno;
    sys::UniqueFd reader;
    if (error_ == 0) {
      const std::string path = "/proc/self/fd/" + std::to_string(file_.borrow());
      reader.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!reader) error_ = errno;
    }
    if (error_ != 0) return failed_call(field_, "cannot keep its content", error_);
    return reader;
  }

 private:
  std::string field_;
  sys::UniqueFd file_;
  int error_ = 0;
};

// Waits until `fd` can be read; false when it took too long.
bool readable(int fd, std::chrono::steady_clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd set{fd, POLLIN, 0};
    const int ready = ::poll(&set, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return true;  // the read says why
    if (ready > 0) return true;
  }
}

request::Result<sys::UniqueFd> read_passed(Draft& draft, const std::string& field, uint32_t index,
                                           size_t most) {
  const auto from = draft.descriptors.take(field, index);
  if (!from) return from.error();
  Memory memory(field);
  const auto until = std::chrono::steady_clock::now() + kPatience;
  size_t size = 0;
  for (char bytes[16384];;) {
    if (!readable(from->borrow(), until))
      return refused(field, "did not end within 10 s", "a file or pipe that ends");
    const ssize_t got = ::read(from->borrow(), bytes, sizeof bytes);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return failed_call(field, "cannot be read", errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
    if (size > most)
      return refused(field, "is too large", "at most " + std::to_string(most) + " bytes");
    memory.append({bytes, static_cast<size_t>(got)});
  }
  return memory.seal();
}

}  // namespace

request::Result<sys::UniqueFd> sealed_content(const std::string& field, const std::string& bytes) {
  Memory memory(field);
  memory.append(bytes);
  return memory.seal();
}

MaybeProblem add_file(MountList& mounts, const Mount& mount, const std::string& at,
                      plan::Mount out) {
  Draft& draft = mounts.draft;
  const FileContent& file = *mount.file;
  const std::string field = "mounts." + mount.at + ".file";
  auto content = file.passed_fd
                     ? read_passed(draft, field + ".passed_fd", *file.passed_fd, kMaxContent)
                     : sealed_content(field, file.text ? *file.text : file.base64.value_or(""));
  if (!content) return content.error();
  out.kind = plan::MountKind::file;
  out.flags |= plan::kMountIsFile;
  if (!mount.access) out.flags |= plan::kMountReadOnly;
  out.mode = file.mode.value_or(0644);
  out.descriptor = draft.descriptors.add(*std::move(content), plan::Use::content);
  mounts.append(out, at, "mounts." + mount.at);
  return std::nullopt;
}

MaybeProblem add_secrets(MountList& mounts) {
  Draft& draft = mounts.draft;
  if (draft.request.secrets.empty()) return std::nullopt;
  plan::Mount place = mounts.blank(plan::MountKind::scratch);
  place.flags = plan::kMountReadOnly | plan::kMountNoExec;
  mounts.append(place, "/run/secrets", "secrets");
  for (const auto& [name, secret] : draft.request.secrets) {
    auto content =
        read_passed(draft, "secrets." + name + ".passed_fd", secret.passed_fd, kMaxSecret);
    if (!content) return content.error();
    plan::Mount out = mounts.blank(plan::MountKind::secret);
    out.flags = plan::kMountIsFile;
    out.mode = 0400;
    out.descriptor = draft.descriptors.add(*std::move(content), plan::Use::content);
    mounts.append(out, "/run/secrets/" + name, "secrets");
  }
  return std::nullopt;
}

}  // namespace cloister::front
