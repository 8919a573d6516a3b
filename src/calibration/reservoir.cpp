#include "calibration/reservoir.hpp"

#include <algorithm>
#include <cmath>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

// Output `number` of the generator with this seed.
std::uint64_t priority_of(std::uint64_t seed, std::uint64_t number) {
  return SplitMix64(seed + number * 0x9e3779b97f4a7c15u).next();
}

}  // namespace

RowReservoir::RowReservoir(int dim, std::size_t capacity, std::uint64_t seed)
    : dim_(static_cast<std::size_t>(dim)), capacity_(capacity), seed_(seed), largest_(dim_) {}

void RowReservoir::offer(const float* row, std::uint64_t number) {
  Held held{priority_of(seed_, number), number, held_.size()};
  if (held_.size() == capacity_) {
    if (!(held < held_.front())) return;
    std::pop_heap(held_.begin(), held_.end());
    held.place = held_.back().place;
    held_.pop_back();
  } else {
    rows_.resize(rows_.size() + dim_);
  }
  std::copy_n(row, dim_, rows_.data() + held.place * dim_);
  held_.push_back(held);
  std::push_heap(held_.begin(), held_.end());
}

void RowReservoir::add(const float* rows, std::size_t count, std::uint64_t first) {
  for (std::size_t i = 0; i < count; ++i, rows += dim_) {
    for (std::size_t c = 0; c < dim_; ++c) largest_[c] = std::max(largest_[c], std::fabs(rows[c]));
    offer(rows, first + i);
  }
}

void RowReservoir::merge(const RowReservoir& other) {
  for (std::size_t c = 0; c < dim_; ++c) largest_[c] = std::max(largest_[c], other.largest_[c]);
  for (const Held& held : other.held_) offer(other.rows_.data() + held.place * dim_, held.number);
}

std::vector<RowReservoir::Held> RowReservoir::by_number() const {
  std::vector<Held> held = held_;
  std::ranges::sort(held, {}, &Held::number);
  return held;
}

std::vector<float> RowReservoir::sample() const {
  std::vector<float> rows;
  rows.reserve(rows_.size());
  for (const Held& held : by_number()) {
    const float* row = rows_.data() + held.place * dim_;
    rows.insert(rows.end(), row, row + dim_);
  }
  return rows;
}

void RowReservoir::save(StateWriter& out) const {
  out.put(static_cast<double>(held_.size()));
  for (const Held& held : by_number()) out.put(static_cast<double>(held.number));
  out.put_all(sample());
  out.put_all(largest_);
}

void RowReservoir::restore(StateReader& in) {
  held_.clear();
  rows_.clear();
  const auto count = static_cast<std::size_t>(in.get());
  const auto numbers = in.get_all(count);
  std::vector<float> row(dim_);
  for (const double number : numbers) {
    in.fill(row);
    offer(row.data(), static_cast<std::uint64_t>(number));
  }
  in.fill(largest_);
}

}  // namespace veloxquant
