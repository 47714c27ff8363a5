#include "resolve/descriptors.hpp"

namespace cloister::front {

std::optional<Problem> Descriptors::refuse(const std::string& field, uint32_t index,
                                           Used allowed) const {
  if (index >= passed_.size())
    return Problem{
        Problem::Kind::invalid, field, "was not sent",
        "an index below the number of descriptors sent, " + std::to_string(passed_.size()),
        std::to_string(index)};
  if (uses_of_passed_[index] != Used::no && uses_of_passed_[index] != allowed)
    return Problem{Problem::Kind::invalid, field, "is used twice",
                   "each passed descriptor exactly once", std::to_string(index)};
  return std::nullopt;
}

request::Result<uint32_t> Descriptors::pass(const std::string& field, uint32_t index, plan::Use use,
                                            bool directory) {
  if (auto problem = refuse(field, index, Used::no)) return *std::move(problem);
  uses_of_passed_[index] = Used::passed;
  const uint32_t at = add(std::move(passed_[index]), use);
  list_[at].directory_granted = directory;
  return at;
}

request::Result<int> Descriptors::stand_in(const std::string& field, uint32_t index) {
  if (auto problem = refuse(field, index, Used::stand_in)) return *std::move(problem);
  uses_of_passed_[index] = Used::stand_in;
  return passed_[index].borrow();
}

request::Result<sys::UniqueFd> Descriptors::take(const std::string& field, uint32_t index) {
  if (auto problem = refuse(field, index, Used::no)) return *std::move(problem);
  uses_of_passed_[index] = Used::passed;
  return std::move(passed_[index]);
}

int Descriptors::peek(uint32_t index) const {
  return index < passed_.size() ? passed_[index].borrow() : -1;
}

uint32_t Descriptors::add(sys::UniqueFd fd, plan::Use use) {
  list_.push_back({use, 0});
  open_.push_back(std::move(fd));
  return static_cast<uint32_t>(list_.size() - 1);
}

std::optional<Problem> Descriptors::unused() const {
  for (size_t i = 0; i < passed_.size(); ++i)
    if (uses_of_passed_[i] == Used::no)
      return Problem{Problem::Kind::invalid, "", "passed descriptor is not used",
                     "each passed descriptor exactly once", std::to_string(i)};
  return std::nullopt;
}

}  // namespace cloister::front
