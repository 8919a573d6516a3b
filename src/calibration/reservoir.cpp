#include "calibration/reservoir.hpp"

#include <algorithm>
#include <cmath>

namespace veloxquant {

RowReservoir::RowReservoir(int dim, std::size_t capacity, std::uint64_t seed)
    : dim_(static_cast<std::size_t>(dim)), capacity_(capacity), random_(seed), largest_(dim_) {}

void RowReservoir::add(const float* rows, std::size_t count) {
  for (; count > 0; --count, rows += dim_) {
    for (std::size_t c = 0; c < dim_; ++c) largest_[c] = std::max(largest_[c], std::fabs(rows[c]));
    const std::size_t place = seen_ < capacity_ ? seen_ : random_.below(seen_ + 1);
    ++seen_;
    if (place >= capacity_) continue;
    if (place == this->rows()) rows_.resize(rows_.size() + dim_);
    std::copy_n(rows, dim_, rows_.data() + place * dim_);
  }
}

}  // namespace veloxquant
