// The state of a statistic as numbers in an order of its own: what checkpoints keep and what ranks give each
// other.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>

namespace veloxquant {

class StateWriter {
 public:
  void put(double number) { numbers_.push_back(number); }
  template <class Numbers>
  void put_all(const Numbers& numbers) {
    numbers_.insert(numbers_.end(), numbers.begin(), numbers.end());
  }
  std::vector<double> take() { return std::move(numbers_); }

 private:
  std::vector<double> numbers_;
};

// Gives them back in the same order. Throws ArtifactError when they are not as many.
class StateReader {
 public:
  explicit StateReader(std::span<const double> numbers) : rest_(numbers) {}

  double get() { return get_all(1)[0]; }
  std::span<const double> get_all(std::size_t count) {
    if (count > rest_.size()) refuse();
    const auto numbers = rest_.first(count);
    rest_ = rest_.subspan(count);
    return numbers;
  }
  template <class Number>
  void fill(std::vector<Number>& numbers) {
    const auto from = get_all(numbers.size());
    for (std::size_t i = 0; i < from.size(); ++i) numbers[i] = static_cast<Number>(from[i]);
  }
  void finish() const {
    if (!rest_.empty()) refuse();
  }

 private:
  [[noreturn]] static void refuse() {
    throw ArtifactError("precompute", "the state of a calibration is of another size");
  }
  std::span<const double> rest_;
};

}  // namespace veloxquant
