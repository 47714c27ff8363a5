// The end of a job: what it had of the host's is given back part by part
// (states.hpp), the end is told, and what is left of it goes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "host/clock.hpp"
#include "host/orphans.hpp"
#include "life/job.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {

using plan::Cause;
using plan::JobPhase;

void Job::on_init_ended(const Reaped& end) {
  init_end_ = end;
  parts_.gone(Part::init);
  // Of an init or a network process that was killed what it had is ours.
  if (end.code != CLD_EXITED || outbound()) parts_.add(Part::orphans);
  if (running()) return finish(Event::init_ended);
  if (take(Event::init_ended)) reclaim();
}

// Its payload runs no more: init says so, or has ended, or cannot say it.
void Job::finish(Event event) {
  const bool first = alive();
  if (!take(event) || !first) return;
  // The payload dies with its init, but maybe has not yet.
  if (event != Event::init_ended || !payload_watch_.lives()) parts_.gone(Part::payload);
  give_back();
}

void Job::given_back(Part part) {
  parts_.gone(part);
  give_back();
}

// The next of what has to be gone before the end is told.
void Job::give_back() {
  const std::optional<Part> next = parts_.first_before(State::ended);
  if (!next) return tell_end();
  if (*next == Part::payload) {
    payload_watch_.kill();
    lose_patience_in_a_moment();
  } else if (*next == Part::relay) {
    relay_->end();
  } else if (*next == Part::network) {
    network_->end();
  } else {
    Cgroups::kill(leaves_);  // if init could not
    shop_.scratch.remove(std::to_array(state_.job), scratch_ids_, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || !self->take(Event::scratch_removed)) return;
      self->scratch_.reset();
      self->given_back(Part::scratch);
    });
  }
}

// How it ended: by the record, or by the kernel, or else it is `lost`.
void Job::read_record() {
  plan::ExitRecord& record = state_.record;
  const bool ours = ::pread(record_.borrow(), &record, sizeof record, 0) == sizeof record &&
                    record.magic == plan::kRecordMagic &&
                    std::equal(record.job, record.job + 16, state_.job);
  const bool whole = ours && record.commit == plan::kRecordCommitted;
  if (!whole) Cgroups::kill(leaves_);  // a whole record is written when nothing lives any more
  const bool told = ours && (whole || record.commit == plan::kRecordPayloadEnded);
  if (defective_) {
    record = {};
    state_.lost = true;
  } else if (!told && !kernel_tells_end()) {
    record = {};
    // Init ended without a word. If we ended it ourselves before the payload
    // was there, we know that nothing ran; else nobody knows.
    state_.lost = state_.phase != JobPhase::preparing || !ending();
    if (state_.lost)
      std::fprintf(stderr, "cloisterd: no record of a job from init %d (%s)\n", init_,
                   parts_.has(Part::init) ? "killed, but it does not end"
                                          : words_of({init_end_.code, init_end_.status}).c_str());
    if (!state_.lost) record.ending = plan::Ending::not_started;
  }
  // What init saw of our ending it is not why.
  if (!state_.lost && record.ending == plan::Ending::not_started && failure_.error)
    record.failure = failure_;
  const bool killed = WIFSIGNALED(record.wait_status) && WTERMSIG(record.wait_status) == SIGKILL;
  if (helper_lost_ && !ending() && (killed || !whole)) {
    acts_.intent = Cause::cloister;
    record.failure = failure_;
  }
}

void Job::tell_end() {
  if (!take(init_killed_ && parts_.has(Part::init) ? Event::told_without_init : Event::told))
    return;
  read_record();
  const plan::ExitRecord& record = state_.record;
  shop_.slots.erase_record(std::to_array(state_.job));  // it is in our memory now
  count_up();
  watch_no_more();
  const int64_t ended =
      record.ended_at_ns ? record.ended_at_ns + real_minus_boot_ns_ : now_ns(CLOCK_REALTIME);
  state_.ended_at_ns = ended;
  if (record.started_at_ns) {
    state_.started_at_ns = record.started_at_ns + real_minus_boot_ns_;
    state_.exec_us = static_cast<uint64_t>(record.started_at_ns - record.forked_at_ns) / 1000;
  }
  if (state_.started_at_ns)
    state_.wall_us = static_cast<uint64_t>(ended - state_.started_at_ns) / 1000;
  ended_boottime_ = std::chrono::seconds((ended - real_minus_boot_ns_) / 1'000'000'000);
  // However fast it was gone: what it wrote does not depend on who saw it first.
  if (stream_past_limit()) intend(Cause::output);
  const Judgement why = judge(record, state_.lost, acts_);
  state_.cause = why.cause;
  state_.killed_signal = why.signal;
  state_.killed_by = why.by;
  state_.limit = limit_reached(why.cause, why.limit);
  announce(JobPhase::ended);
  if (!parts_.has(Part::init)) reclaim();
}

void Job::watch_no_more() {
  for (auto* timer : {&deadline_, &patience_, &wall_time_, &cpu_time_, &memory_}) timer->cancel();
  boost::system::error_code ignored;  // it is ours alone
  oom_.close(ignored);
  payload_watch_.forget();
}

// What may still be there when the end has been told.
void Job::reclaim() {
  boost::system::error_code ignored;  // it is ours alone and at its end
  control_.close(ignored);
  record_.reset();
  leaves_ = leaves_.names();
  const bool orphaned = parts_.has(Part::orphans) && !end_orphans();
  if (!orphaned && shop_.cgroups.remove(leaves_)) {
    parts_.gone(Part::orphans);
    parts_.gone(Part::leaves);
  } else {
    // EBUSY: a task that is dying still counts for a moment, and one that sleeps
    // in the kernel for as long as it likes: nobody waits for that one.
    const int error = orphaned ? EBUSY : errno;
    constexpr int kTries = 8;
    if (reclaims_ < kTries) {
      deadline_.expires_after(std::chrono::milliseconds(20) * (1 << reclaims_++));
      deadline_.async_wait([self = shared_from_this()](boost::system::error_code stopped) {
        if (!stopped) self->reclaim();
      });
      return;
    }
    std::fprintf(stderr, "cloisterd: cannot clean up after job j-%s: %s: %s\n",
                 sys::hex(state_.job).c_str(), name_of(orphaned ? Part::orphans : Part::leaves),
                 std::strerror(error));
    shop_.cgroups.leave(std::move(leaves_), lease_);
  }
  // No process of the job's is left, so its ids are free, unless its cgroup is left.
  lease_.reset();
  if (take(Event::all_gone) && on_gone_) on_gone_(*this);
}

}  // namespace cloister::monitor
