#include "search/sign_planes.hpp"

#include <algorithm>
#include <cmath>

#include "codebook/row_math.hpp"

namespace veloxquant {

SignQuery::SignQuery(const float* query, int dims)
    : sums_((static_cast<std::size_t>(dims) + 7) / 8), norm_(std::sqrt(dot(query, query, dims))) {
  for (std::size_t byte = 0; byte < sums_.size(); ++byte) {
    std::array<float, 256>& sums = sums_[byte];
    sums[0] = 0;
    for (std::size_t bit = 0; bit < 8; ++bit) {
      const std::size_t c = 8 * byte + bit, half = std::size_t{1} << bit;
      const float q = c < static_cast<std::size_t>(dims) ? query[c] : 0.0f;
      for (std::size_t i = 0; i < half; ++i) {
        sums[half + i] = sums[i] + q;
        sums[i] -= q;
      }
    }
  }
}

float SignQuery::product(const std::uint8_t* signs) const noexcept {
  float partial[4] = {};  // so that no addition waits for the one before
  std::size_t i = 0;
  for (; i + 4 <= sums_.size(); i += 4)
    for (std::size_t lane = 0; lane < 4; ++lane) partial[lane] += sums_[i + lane][signs[i + lane]];
  for (std::size_t lane = 0; i + lane < sums_.size(); ++lane)
    partial[lane] += sums_[i + lane][signs[i + lane]];
  return (partial[0] + partial[1]) + (partial[2] + partial[3]);
}

SignPlanes::SignPlanes(int dims)
    : code_(make_rabitq_code(1, dims, ScaleMode::unbiased)),
      width_(code_->spec().code_bytes()),
      margin_step_(static_cast<float>(std::sqrt(dims / (dims - 1.0)) / 255)),
      factor_margin_(static_cast<float>(std::ldexp(std::sqrt(dims), -25))) {}

void SignPlanes::append(const float* rows, std::size_t count) {
  const CodeSpec& spec = code_->spec();
  std::vector<std::uint8_t> signs(count * width_);
  std::vector<f16> factors(count);
  std::vector<std::uint8_t> sines(count);
  code_->encode_rows(rows, count, signs.data(), reinterpret_cast<std::uint8_t*>(factors.data()));
  for (std::size_t i = 0; i < count; ++i, rows += spec.head_dim) {
    const double sum =
        fixed_order_sum(spec.head_dim, [rows](int c) { return static_cast<double>(std::fabs(rows[c])); });
    const double square = dot(rows, rows, spec.head_dim);
    const double lost = square > 0 ? 1 - sum * sum / (square * spec.head_dim) : 0;
    sines[i] = static_cast<std::uint8_t>(std::min(255.0, std::ceil(255 * std::sqrt(std::max(0.0, lost)))));
  }
  signs_.insert(signs_.end(), signs.begin(), signs.end());
  factors_.insert(factors_.end(), factors.begin(), factors.end());
  sines_.insert(sines_.end(), sines.begin(), sines.end());
}

void SignPlanes::clear() {
  signs_.clear();
  factors_.clear();
  sines_.clear();
}

std::size_t SignPlanes::nbytes() const noexcept {
  return signs_.capacity() + sizeof(f16) * factors_.capacity() + sines_.capacity();
}

}  // namespace veloxquant
