// The label that a security module (AppArmor, SELinux, Smack) has given a
// process: what it may do beyond its ids, and no client's to shed.
#pragma once

#include <sys/types.h>

#include <string>

namespace cloister::monitor {

// /proc/PID/attr/current without its line end. Empty when no module labels
// processes; "?" when there is a label that we may not see.
std::string label_of(pid_t pid);

// Whether it is one that holds its process back. Not: "unconfined" and profiles
// in the modes complain and unconfined of AppArmor, the unconfined types of
// SELinux, Smack's floor.
bool is_confined(const std::string& label);

// What /proc/PID/attr/exec wants to hear for it: AppArmor a command without the
// mode, the others the label.
std::string exec_word(const std::string& label);

}  // namespace cloister::monitor
