#include <veloxquant/transform/hadamard.hpp>

#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "transform/head_dim.hpp"
#include "transform/paley.hpp"
#include "transform/random.hpp"

namespace veloxquant {
namespace {

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

// One stage on pairs (i, i + half) of blocks of `core` values, the results side by side. log2(count) such
// stages are the Hadamard matrix of Sylvester's order; unlike butterflies in place, every stage is
// contiguous.
void stage(const float* in, float* out, int half, int core) {
  if (core == 1) {
    for (int i = 0; i < half; ++i) {
      const float a = in[i], b = in[half + i];
      out[2 * i] = a + b;
      out[2 * i + 1] = a - b;
    }
    return;
  }
  for (int i = 0; i < half; ++i)
    for (int c = 0; c < core; ++c) {
      const float a = in[i * core + c], b = in[(half + i) * core + c];
      out[2 * i * core + c] = a + b;
      out[(2 * i + 1) * core + c] = a - b;
    }
}

// out = in * matrix for rows of `core` values, terms added in order of the row's coordinates.
void multiply_core(const float* matrix, const float* in, float* out, int count, int core) {
  for (int block = 0; block < count; ++block, in += core, out += core) {
    for (int o = 0; o < core; ++o) out[o] = matrix[o] * in[0];
    for (int i = 1; i < core; ++i)
      for (int o = 0; o < core; ++o) out[o] += matrix[i * core + o] * in[i];
  }
}

std::vector<float> transpose(const std::vector<float>& matrix, int order) {
  std::vector<float> result(matrix.size());
  for (int row = 0; row < order; ++row)
    for (int column = 0; column < order; ++column)
      result[column * order + row] = matrix[row * order + column];
  return result;
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
  if (rounds < 1 || rounds > 8)
    throw ConfigError("hadamard", fmt::format("rounds is {}, but must be from 1 to 8", rounds));

  std::vector<float> norms;
  for (int begin = 0; begin < head_dim;) {
    const int size = largest_order(head_dim - begin), core = core_of(size);
    Block block{begin, size / core, core, {}, {}};
    if (core > 1) {
      block.matrix = paley_matrix(core);
      block.transposed = transpose(block.matrix, core);
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
    float *in = x + block.begin, *out = scratch + block.begin;
    for (int done = 1; done < block.count; done *= 2) {
      stage(in, out, block.count / 2, block.core);
      std::swap(in, out);
    }
    if (block.core > 1) {
      multiply_core((transposed ? block.matrix : block.transposed).data(), in, out, block.count, block.core);
      std::swap(in, out);
    }
    if (in != x + block.begin)
      std::memcpy(x + block.begin, in, sizeof(float) * static_cast<std::size_t>(block.count * block.core));
  }
}

void HadamardTransform::apply_row(const float* x, float* y) const {
  float scratch[kMaxHeadDim];
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
  float scratch[kMaxHeadDim];
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
