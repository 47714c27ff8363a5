// hostile-front: a front that a client has taken over. It is cloister-front but
// for this file, so it becomes the client, reads its calls and resolves them
// like the real one; then it does what the client says with the Plan that came
// out, with the descriptors that go with it, and with Asks of its own.
//
//   cloisterd --front hostile-front ...
//
// What it does is a list of acts in the variable HOSTILE of the request's `env`;
// script.hpp writes them for tests in C++. Offsets are those of plan::Header,
// `hex` are bytes as they lie in memory.
//
//   {"act": "poke", "offset": N, "hex": H}          bytes of the header
//   {"act": "text", "offset": N, "value": S}        a Text of the header
//   {"act": "span", "offset": N, "hex": H, "count": N}  a Span of the header
//   {"act": "texts", "offset": N, "values": [S, ...]}  a list of texts of the header
//   {"act": "drop", "kinds": [K, ...]}              mounts of these kinds
//   {"act": "mount", "kind": K, "offset": N, "hex": H}  bytes of each mount of a kind
//   {"act": "add", "kind": K, "flags": F, "at": S, "open": PATH, "data": S, "first": B}
//                                                   a mount more, its source opened as the client
//   {"act": "replace", "index": N, "open": PATH, "flags": F}   another descriptor than was named
//   {"act": "pass", "use": U, "open": PATH, "flags": F, "directory": B, "into": N}
//                                                   one more; its index goes to offset `into`
//   {"act": "sysctl", "path": S, "value": S}        one sysctl and no other
//   {"act": "ask", "hex": H, "times": N}            an Ask before that of this Plan
//   {"act": "size", "value": N}                     the Ask claims so many bytes
//   {"act": "block", "hex": H}                      no Plan at all
//   {"act": "missing", "calls": [N, ...]}           system calls that must not be there
//   {"act": "unsealed"}                             the memfd can still be changed
#include "seal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::front {
namespace {

using nlohmann::json;

std::string bytes_of(const json& act) {
  const std::string hex = act.at("hex");
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

// A Plan in pieces that can be altered and put together again.
class Altered {
 public:
  explicit Altered(Resolved& plan) : plan_(plan), block_(plan.plan_block) {
    std::memcpy(&header_, block_.data(), sizeof header_);
    const plan::View view(block_.data());
    mounts_ = list_of(view, header_.mounts);
    descriptors_ = list_of(view, header_.descriptors);
  }

  void finish() {
    header_.mounts = span(mounts_);
    header_.descriptors = span(descriptors_);
    header_.bytes = static_cast<uint32_t>(block_.size());
    std::memcpy(block_.data(), &header_, sizeof header_);
  }

  void poke(size_t offset, const std::string& bytes) {
    if (offset + bytes.size() > sizeof header_) throw std::out_of_range("not in the header");
    std::memcpy(reinterpret_cast<char*>(&header_) + offset, bytes.data(), bytes.size());
  }
  plan::Text text(const std::string& value) {
    if (value.empty()) return {sizeof(plan::Header), 0};
    const auto offset = static_cast<uint32_t>(block_.size());
    block_.append(value).push_back('\0');
    return {offset, static_cast<uint32_t>(value.size())};
  }
  uint32_t append(const std::string& bytes) {
    block_.resize((block_.size() + 7) / 8 * 8);
    const auto offset = static_cast<uint32_t>(block_.size());
    block_ += bytes;
    return offset;
  }
  template <class T>
  void place(size_t offset, const T& value) {
    poke(offset, std::string(reinterpret_cast<const char*>(&value), sizeof value));
  }

  void drop(const std::vector<uint32_t>& kinds) {
    std::erase_if(mounts_, [&](const plan::Mount& mount) {
      return std::find(kinds.begin(), kinds.end(), static_cast<uint32_t>(mount.kind)) !=
             kinds.end();
    });
  }
  void poke_mounts(uint32_t kind, size_t offset, const std::string& bytes) {
    if (offset + bytes.size() > sizeof(plan::Mount)) throw std::out_of_range("not in a mount");
    for (plan::Mount& mount : mounts_)
      if (static_cast<uint32_t>(mount.kind) == kind)
        std::memcpy(reinterpret_cast<char*>(&mount) + offset, bytes.data(), bytes.size());
  }
  void add_mount(const json& act) {
    plan::Mount mount{};
    mount.kind = act.at("kind").get<plan::MountKind>();
    mount.flags = act.value("flags", 0u);
    mount.mode = act.value("mode", 0u);
    mount.at = text(act.at("at"));
    mount.data = text(act.value("data", ""));
    mount.source = text(act.value("open", ""));
    mount.descriptor = plan::kNone;
    if (act.contains("open"))
      mount.descriptor = add(act.at("open"), O_PATH, act.value("use", plan::Use::mount), false);
    mounts_.insert(act.value("first", false) ? mounts_.begin() : mounts_.end(), mount);
  }
  uint32_t add(const std::string& path, int flags, plan::Use use, bool directory) {
    plan_.descriptors.push_back(opened(path, flags));
    descriptors_.push_back({use, directory});
    return static_cast<uint32_t>(descriptors_.size() - 1);
  }
  void replace(size_t index, const std::string& path, int flags) {
    plan_.descriptors.at(index) = opened(path, flags);
  }
  void become(std::string block) { block_ = std::move(block); }

 private:
  static sys::UniqueFd opened(const std::string& path, int flags) {
    sys::UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (!fd) throw std::runtime_error("cannot open " + path);
    return fd;
  }
  template <class T>
  static std::vector<T> list_of(const plan::View& view, plan::Span<T> span) {
    return {view.begin(span), view.begin(span) + span.count};
  }
  template <class T>
  plan::Span<T> span(const std::vector<T>& list) {
    const std::string bytes(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(T));
    return {list.empty() ? 0 : append(bytes), static_cast<uint32_t>(list.size())};
  }

  Resolved& plan_;
  std::string& block_;
  plan::Header header_;
  std::vector<plan::Mount> mounts_;
  std::vector<plan::Descriptor> descriptors_;
};

// What comes after the Plan is whole.
struct Afterwards {
  size_t claimed = 0;
  bool sealed = true;
  std::string block;
};

void perform(const json& act, Altered& plan, Afterwards& after) {
  const std::string what = act.at("act");
  const auto offset = act.value("offset", size_t{0});
  if (what == "poke") {
    plan.poke(offset, bytes_of(act));
  } else if (what == "text") {
    plan.place(offset, plan.text(act.at("value")));
  } else if (what == "span") {
    const std::string bytes = bytes_of(act);
    plan.place(offset, plan::Span<char>{plan.append(bytes), act.at("count")});
  } else if (what == "texts") {
    std::vector<plan::Text> texts;
    for (const json& value : act.at("values")) texts.push_back(plan.text(value));
    const std::string bytes(reinterpret_cast<const char*>(texts.data()),
                            texts.size() * sizeof(plan::Text));
    plan.place(offset,
               plan::Span<plan::Text>{plan.append(bytes), static_cast<uint32_t>(texts.size())});
  } else if (what == "drop") {
    plan.drop(act.at("kinds"));
  } else if (what == "mount") {
    plan.poke_mounts(act.at("kind"), offset, bytes_of(act));
  } else if (what == "add") {
    plan.add_mount(act);
  } else if (what == "replace") {
    plan.replace(act.at("index"), act.at("open"), act.at("flags"));
  } else if (what == "pass") {
    plan.place<uint32_t>(act.at("into"),
                         plan.add(act.at("open"), act.at("flags"), act.at("use").get<plan::Use>(),
                                  act.value("directory", false)));
  } else if (what == "sysctl") {
    const plan::Sysctl one{plan.text(act.at("path")), plan.text(act.at("value"))};
    const std::string bytes(reinterpret_cast<const char*>(&one), sizeof one);
    plan.place(offsetof(plan::Header, sysctls), plan::Span<plan::Sysctl>{plan.append(bytes), 1});
  } else if (what == "ask") {
    std::string ask = bytes_of(act);
    ask.resize(act.value("length", sizeof(plan::Ask)));
    for (int i = act.value("times", 1); i > 0; --i)
      if (::write(plan::kAskFd, ask.data(), ask.size()) < 0) throw std::runtime_error("ask");
  } else if (what == "size") {
    after.claimed = act.at("value");
  } else if (what == "block") {
    after.block = bytes_of(act);
  } else if (what == "missing") {
    for (const long call : act.at("calls"))
      if (::syscall(call, -1, -1, -1, -1, -1, -1) != -1 || errno != ENOSYS)
        throw std::runtime_error("there is system call " + std::to_string(call));
  } else if (what == "unsealed") {
    after.sealed = false;
  } else {
    throw std::runtime_error("no such act: " + what);
  }
}

// The acts of this Plan; none: it is an honest one.
json script_of(const Resolved& resolved) {
  const plan::View view(resolved.plan_block.data());
  const std::string name = "HOSTILE=";
  for (uint32_t i = 0; i < view->env.count; ++i) {
    const std::string entry = view.c_str(view.at(view->env, i));
    if (entry.starts_with(name)) return json::parse(entry.substr(name.size()));
  }
  return json::array();
}

bool write_whole(const std::string& block, int memfd, bool sealed) {
  for (size_t at = 0; at < block.size();) {
    const ssize_t size = ::write(memfd, block.data() + at, block.size() - at);
    if (size <= 0) return false;
    at += static_cast<size_t>(size);
  }
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  return !sealed || ::fcntl(memfd, F_ADD_SEALS, kSeals) == 0;
}

}  // namespace

// False ends the front: a script that cannot be done fails its test.
bool seal(Resolved& resolved, int memfd) try {
  Altered altered(resolved);
  Afterwards after;
  const json script = script_of(resolved);
  for (const json& act : script) perform(act, altered, after);
  if (!script.empty()) altered.finish();
  if (!after.block.empty()) altered.become(after.block);
  if (!write_whole(resolved.plan_block, memfd, after.sealed)) return false;
  if (after.claimed) resolved.plan_block.resize(after.claimed);
  return true;
} catch (const std::exception& error) {
  std::fprintf(stderr, "hostile-front: %s\n", error.what());
  return false;
}

}  // namespace cloister::front
