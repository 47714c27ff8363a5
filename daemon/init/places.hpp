// Places: where mounts go. Looked up inside the new root only (RESOLVE_IN_ROOT,
// no magic links), and made only on a mount of this job's own: nothing is ever
// created in a tree of the host's.
//
// The way there is the payload's to walk, or the client's. Else a refusal, and a
// line of mountinfo, would tell them what is in a directory that is closed to both.
//
// Borrows the root's descriptor. Every result is a descriptor or a negated errno.
#pragma once

#include <asm/errno.h>

#include "verbs.hpp"

struct open_how;

namespace cloister::init {

class Places {
 public:
  Places(Job& job, int root) : job_(job), root_(root) {}

  // O_PATH, or as `flags` say. -EACCES behind a closed directory, whatever is there.
  long open(const char* path, uint64_t flags = 0) const;
  // The directory on the way to `path` that is closed.
  long open_closed(const char* path) const;
  // What is no place of the client's choice.
  long open_as_init(const char* path) const;
  // Whether it lies on a mount that was made for this job alone.
  bool is_ours(int fd) const;
  // The directory that holds the last name of `path`, made on the way where
  // that is ours to do; `name` points at that last name.
  long open_parent(const char* path, const char*& name) const;
  // What is at `path`, made as an empty file or a directory where it is missing.
  long open_or_make(const char* path, bool file, uint32_t mode) const;
  // What `make` makes. An overlay that acts for the client has no number for
  // root, and takes no file of root's: there it is the payload's.
  template <class Make>
  long made(Make make) const {
    const long result = make();
    if (result != -EOVERFLOW) return result;
    const FilesOfPayload as(job_);
    return make();
  }
  // What open_or_make() remembers; before anything else changes the tree.
  void forget() const;

 private:
  struct Last;
  static Last last_;
  enum class Want { place, closed_directory };

  bool lets_in(int directory) const;
  long open_as_payload(int at, const char* path, const open_how& how) const;
  long walk(const char* path, uint64_t flags, Want want) const;
  void keep(int parent, const char* path, const char* name) const;
  long make_beside(const char* path, bool file, uint32_t mode) const;
  long make(int parent, const char* name, uint32_t mode, bool file) const;
  long make_here(int parent, const char* name, uint32_t mode, bool file) const;

  Job& job_;
  const int root_;
};

}  // namespace cloister::init
