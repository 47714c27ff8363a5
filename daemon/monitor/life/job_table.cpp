#include "life/job_table.hpp"

#include <linux/capability.h>

#include <algorithm>

namespace cloister::monitor {

using std::chrono::seconds;

JobId id_of(const uint8_t (&id)[16]) { return std::to_array(id); }

JobTable::Entry& JobTable::add(const plan::JobState& state, Labels labels, uint32_t bytes) {
  const JobId id = id_of(state.job);
  Owner& owner = owners_[state.owner];
  order_[state.serial] = id;
  owner.jobs[state.serial] = id;
  owner.bytes += bytes;
  if (labels.key != 0) owner.keys[labels.key] = id;
  Entry entry{nullptr, nullptr, std::move(labels)};
  entry.bytes = bytes;
  return table_.emplace(id, std::move(entry)).first->second;
}

JobTable::Entry* JobTable::find(const uint8_t (&id)[16], const Peer& peer) {
  const auto found = table_.find(id_of(id));
  if (found == table_.end() || found->second.removed) return nullptr;
  const bool may_see = peer.uid == found->second.state().owner || peer.holds(CAP_KILL);
  return may_see ? &found->second : nullptr;
}

JobTable::Entry* JobTable::known_key(uid_t user, const Labels& labels) {
  if (labels.key == 0) return nullptr;
  const auto owner = owners_.find(user);
  if (owner == owners_.end()) return nullptr;
  const auto known = owner->second.keys.find(labels.key);
  if (known == owner->second.keys.end()) return nullptr;
  Entry& entry = table_.at(known->second);
  return entry.removed ? nullptr : &entry;
}

const JobTable::Serials& JobTable::of(uid_t user) const {
  static const Serials kNone;
  const auto owner = owners_.find(user);
  return owner == owners_.end() ? kNone : owner->second.jobs;
}

uint32_t JobTable::kept(uid_t user) const {
  const auto owner = owners_.find(user);
  return owner == owners_.end() ? 0 : owner->second.kept();
}

uint64_t JobTable::bytes(uid_t user) const {
  const auto owner = owners_.find(user);
  return owner == owners_.end() ? 0 : owner->second.bytes;
}

void JobTable::live_with(Entry& entry, const Front& front) {
  entry.front = &front;
  connections_[&front].insert(id_of(entry.state().job));
}

std::vector<JobTable::Entry*> JobTable::detach(const Front& front) {
  std::vector<Entry*> detached;
  const auto found = connections_.find(&front);
  if (found == connections_.end()) return detached;
  for (const JobId& id : found->second) {
    Entry& entry = table_.at(id);
    entry.front = nullptr;
    detached.push_back(&entry);
  }
  connections_.erase(found);
  return detached;
}

void JobTable::drop_if_idle(uid_t user) {
  const auto owner = owners_.find(user);
  if (owner != owners_.end() && owner->second.jobs.empty()) owners_.erase(owner);
}

bool JobTable::make_room(uid_t user, uint64_t bytes, uint64_t most) {
  if (most == 0) return true;
  Owner& owner = owners_[user];
  for (auto next = owner.whole.begin(); owner.bytes + bytes > most && next != owner.whole.end();) {
    const auto current = next++;
    Entry& entry = table_.at(*current);
    if (!entry.kept) continue;  // its init is being reaped
    const uint32_t left = entry.kept->cut(entry.bytes);
    owner.bytes -= entry.bytes - left;
    entry.bytes = left;
    owner.cut.splice(owner.cut.end(), owner.whole, current);
    entry.among = &owner.cut;
  }
  while (owner.bytes + bytes > most && !owner.cut.empty()) forget(owner.cut.front());
  return owner.bytes + bytes <= most;
}

bool JobTable::make_room_for_output(uid_t user, uint64_t bytes, uint64_t most, size_t most_jobs) {
  if (bytes == 0) return true;
  Owner& owner = owners_[user];
  const auto fits = [&] { return most == 0 || owner.output + bytes <= most; };
  // None loses its output to a job that is refused all the same.
  uint64_t dropped = 0;
  if (!fits())
    for (const auto& [serial, id] : owner.outputs)
      if (const Entry& entry = table_.at(id); entry.kept) dropped += entry.output;
  if (most != 0 && owner.output - dropped + bytes > most) return false;
  for (auto next = owner.outputs.begin();
       next != owner.outputs.end() && !(fits() && owner.outputs.size() < most_jobs);) {
    Entry& entry = table_.at(next++->second);
    if (!entry.kept) continue;  // it runs, or its init is being reaped
    entry.kept->drop_output();
    count_output(entry, 0);
  }
  return true;
}

void JobTable::count_output(Entry& entry, uint64_t bytes) {
  Owner& owner = owners_[entry.state().owner];
  owner.output += bytes - entry.output;
  entry.output = bytes;
  if (bytes > 0)
    owner.outputs[entry.state().serial] = id_of(entry.state().job);
  else
    owner.outputs.erase(entry.state().serial);
}

uint64_t JobTable::output(uid_t user) const {
  const auto owner = owners_.find(user);
  return owner == owners_.end() ? 0 : owner->second.output;
}

void JobTable::ended(Entry& entry, uint32_t most) {
  Owner& owner = owners_[entry.state().owner];
  entry.among = &owner.whole;
  entry.place = owner.whole.insert(owner.whole.end(), id_of(entry.state().job));
  while (owner.kept() > most) forget(owner.cut.empty() ? owner.whole.front() : owner.cut.front());
}

void JobTable::keep(Entry& entry, std::unique_ptr<Kept> kept) {
  entry.kept = std::move(kept);
  entry.job.reset();
  if (entry.removed) forget(id_of(entry.state().job));
}

void JobTable::forget(const JobId& wanted) {
  const JobId id = wanted;  // it may lie in a list of ours
  const auto found = table_.find(id);
  if (found == table_.end()) return;
  Entry& entry = found->second;
  if (entry.among) std::exchange(entry.among, nullptr)->erase(entry.place);
  entry.removed = true;
  if (!entry.kept) return;
  entry.kept->drop_output();
  forgotten_(entry);
  const plan::JobState& state = entry.state();
  Owner& owner = owners_[state.owner];
  if (entry.front) connections_[entry.front].erase(id);
  if (const auto key = owner.keys.find(entry.labels.key);
      key != owner.keys.end() && key->second == id)
    owner.keys.erase(key);
  owner.bytes -= entry.bytes;
  count_output(entry, 0);
  owner.jobs.erase(state.serial);
  order_.erase(state.serial);
  table_.erase(found);
}

std::optional<seconds> JobTable::expire(seconds now, seconds keep) {
  std::optional<seconds> next;
  // Those that ended first come first.
  for (auto& [user, owner] : owners_)
    for (std::list<JobId>* among : {&owner.cut, &owner.whole})
      while (!among->empty()) {
        const seconds left = keep - (now - table_.at(among->front()).ended());
        if (left.count() > 0) {
          next = std::min(left, next.value_or(left));
          break;
        }
        forget(among->front());
      }
  return next;
}

}  // namespace cloister::monitor
