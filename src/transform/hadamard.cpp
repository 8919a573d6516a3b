#include <veloxquant/transform/hadamard.hpp>

#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <hwy/base.h>

#include <veloxquant/core/error.hpp>

#include "linalg/matrix_vector.hpp"
#include "transform/head_dim.hpp"
#include "transform/paley.hpp"
#include "transform/random.hpp"
#include "transform/sylvester.hpp"

namespace veloxquant {
namespace {

constexpr int kMaxRounds = 8;

// The core of the Hadamard matrix of this order: 1, four times the odd part, or 0 when there is none.
int core_of(int order) {
  int odd = order;
  while (odd % 2 == 0) odd /= 2;
  const int core = odd == 1 ? 1 : 4 * odd;
  return order % core == 0 && has_paley_matrix(core) ? core : 0;
}

int largest_order(int limit) {
  while (core_of(limit) == 0) --limit;
  return limit;
}

void butterfly(float* HWY_RESTRICT x, float* HWY_RESTRICT y, int count) {
  for (int i = 0; i < count; ++i) {
    const float a = x[i], b = y[i];
    x[i] = a + b;
    y[i] = a - b;
  }
}

// Sylvester's matrix of order `count` (a power of two) on `count` runs of `core` values, in place.
void multiply_sylvester_runs(float* x, int count, int core) {
  for (int half = 1; half < count; half *= 2)
    for (int begin = 0; begin < count; begin += 2 * half)
      butterfly(x + begin * core, x + (begin + half) * core, half * core);
}

// H_core or its transpose in rows of padded length, as multiply_rows takes it.
std::vector<float> padded_core(int core, bool transposed) {
  const std::vector<float> matrix = paley_matrix(core);
  const int stride = padded_columns(core);
  std::vector<float> padded(static_cast<std::size_t>(core * stride), 0.0f);
  for (int row = 0; row < core; ++row)
    for (int column = 0; column < core; ++column)
      padded[row * stride + column] = transposed ? matrix[column * core + row] : matrix[row * core + column];
  return padded;
}

std::vector<std::int32_t> random_permutation(int count, SplitMix64& random) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  return order;
}

}  // namespace

HadamardTransform::HadamardTransform(int head_dim, std::uint64_t seed, int rounds) : head_dim_(head_dim) {
  require_head_dim(head_dim, "hadamard");
  if (rounds < 1 || rounds > kMaxRounds)
    throw ConfigError("hadamard", fmt::format("rounds is {}, but must be from 1 to {}", rounds, kMaxRounds));

  std::vector<float> norms;
  for (int begin = 0; begin < head_dim;) {
    const int size = largest_order(head_dim - begin), core = core_of(size);
    Block block{begin, size / core, core, {}, {}};
    if (core > 1) {
      block.matrix = padded_core(core, false);
      block.transposed = padded_core(core, true);
    }
    blocks_.push_back(std::move(block));
    norms.insert(norms.end(), static_cast<std::size_t>(size), static_cast<float>(1 / std::sqrt(size)));
    begin += size;
  }

  const bool split = blocks_.size() > 1;
  SplitMix64 random(seed);
  for (int r = 0; r < rounds + (split ? 1 : 0); ++r) {
    Round round{norms, {}};
    for (float& sign : round.signs) sign = random.next() >> 63 ? -sign : sign;
    if (split && r > 0) round.gather = random_permutation(head_dim, random);
    rounds_.push_back(std::move(round));
  }
}

void HadamardTransform::multiply(float* x, float* scratch, bool transposed) const {
  for (const Block& block : blocks_) {
    float* values = x + block.begin;
    if (block.core == 1) {
      multiply_sylvester(values, block.count);
      continue;
    }
    multiply_sylvester_runs(values, block.count, block.core);
    // multiply_rows has the vector on the left: (H x)^T = x^T H^T.
    const std::vector<float>& matrix = transposed ? block.matrix : block.transposed;
    multiply_rows(values, block.count, matrix.data(), block.core, block.core, scratch);
    std::memcpy(values, scratch, sizeof(float) * static_cast<std::size_t>(block.count * block.core));
  }
}

void HadamardTransform::apply_row(const float* x, float* y) const { apply_rows(x, 1, y); }

void HadamardTransform::apply_rows(const float* x, std::size_t count, float* y) const {
  if (blocks_.size() == 1 && blocks_[0].core == 1) {
    const float* factors[kMaxRounds];
    for (std::size_t r = 0; r < rounds_.size(); ++r) factors[r] = rounds_[r].signs.data();
    return multiply_sylvester_rounds(x, count, head_dim_, {factors, rounds_.size()}, y);
  }
  for (std::size_t i = 0; i < count; ++i, x += head_dim_, y += head_dim_) apply_blocks(x, y);
}

void HadamardTransform::apply_blocks(const float* x, float* y) const {
  float scratch[kMaxHeadDim + kMatrixPad];
  std::memcpy(y, x, sizeof(float) * static_cast<std::size_t>(head_dim_));
  for (const Round& round : rounds_) {
    if (!round.gather.empty()) {
      std::memcpy(scratch, y, sizeof(float) * static_cast<std::size_t>(head_dim_));
      for (int i = 0; i < head_dim_; ++i) y[i] = scratch[round.gather[static_cast<std::size_t>(i)]];
    }
    const float* signs = round.signs.data();
    for (int i = 0; i < head_dim_; ++i) y[i] *= signs[i];
    multiply(y, scratch, false);
  }
}

void HadamardTransform::inverse_row(const float* y, float* x) const {
  float scratch[kMaxHeadDim + kMatrixPad];
  std::memcpy(x, y, sizeof(float) * static_cast<std::size_t>(head_dim_));
  for (std::size_t r = rounds_.size(); r-- > 0;) {
    const Round& round = rounds_[r];
    multiply(x, scratch, true);
    const float* signs = round.signs.data();
    for (int i = 0; i < head_dim_; ++i) x[i] *= signs[i];
    if (!round.gather.empty()) {
      std::memcpy(scratch, x, sizeof(float) * static_cast<std::size_t>(head_dim_));
      for (int i = 0; i < head_dim_; ++i) x[round.gather[static_cast<std::size_t>(i)]] = scratch[i];
    }
  }
}

std::size_t HadamardTransform::nbytes() const noexcept {
  std::size_t bytes = 0;
  for (const Block& block : blocks_) bytes += sizeof(float) * (block.matrix.size() + block.transposed.size());
  for (const Round& round : rounds_)
    bytes += sizeof(float) * round.signs.size() + sizeof(std::int32_t) * round.gather.size();
  return bytes;
}

}  // namespace veloxquant
