// The scalar parts of attention: working memory, merging of partial results, and the definition for tests.
#include "attention/attend.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "codebook/row_code.hpp"

namespace veloxquant {
namespace {

// The factor that brings sums taken at `max` to `common`, exactly 0 for rows that saw nothing.
float rescale(float max, float common) {
  return max == -std::numeric_limits<float>::infinity() ? 0.0f : std::exp(max - common);
}

// One token of the reference: decoded key and value.
class ReferenceTokens {
 public:
  ReferenceTokens(const CodeSpec& keys, const CodeSpec& values)
      : keys_(keys),
        values_(values),
        key_(static_cast<std::size_t>(keys.head_dim)),
        value_(static_cast<std::size_t>(values.head_dim)) {}

  void read(const TokenRun& run, int token) {
    const auto t = static_cast<std::size_t>(token);
    const auto at = [t](const std::uint8_t* rows, std::size_t stride) {
      return stride > 0 ? rows + t * stride : rows;
    };
    decode_row(keys_, at(run.key_codes, keys_.code_bytes()), at(run.key_scales, keys_.scale_bytes()),
               key_.data());
    decode_row(values_, at(run.value_codes, values_.code_bytes()),
               at(run.value_scales, values_.scale_bytes()), value_.data());
  }
  double product(const float* query) const {
    double sum = 0;
    for (std::size_t c = 0; c < key_.size(); ++c)
      sum += static_cast<double>(query[c]) * static_cast<double>(key_[c]);
    return sum;
  }
  const std::vector<float>& value() const { return value_; }

 private:
  const CodeSpec &keys_, &values_;
  std::vector<float> key_, value_;
};

}  // namespace

float* AttendScratch::reserve(std::size_t floats) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t bytes = floats * sizeof(float);
  if (memory_.size() < bytes + kAlignment) memory_.resize(bytes + kAlignment);
  void* begin = memory_.data();
  std::size_t space = memory_.size();
  return static_cast<float*>(std::align(kAlignment, bytes, begin, space));
}

void merge_partials(const AttendPartial& into, const AttendPartial& other, int rows, int head_dim) {
  const auto dims = static_cast<std::size_t>(head_dim);
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float max = std::max(into.max[r], other.max[r]);
    const float mine = rescale(into.max[r], max), theirs = rescale(other.max[r], max);
    into.max[r] = max;
    into.sum[r] = into.sum[r] * mine + other.sum[r] * theirs;
    float* out = into.out + r * dims;
    const float* added = other.out + r * dims;
    for (std::size_t c = 0; c < dims; ++c) out[c] = out[c] * mine + added[c] * theirs;
  }
}

void attend_reference(const CodeSpec& keys, const CodeSpec& values, std::span<const TokenRun> runs,
                      const AttendQuery& query, double* out) {
  const auto rows = static_cast<std::size_t>(query.rows), width = static_cast<std::size_t>(query.head_dim),
             dims = static_cast<std::size_t>(values.head_dim);
  std::vector<double> max(rows, -std::numeric_limits<double>::infinity()), sum(rows, 0.0);
  std::fill(out, out + rows * width, 0.0);
  ReferenceTokens tokens(keys, values);
  for (const TokenRun& run : runs) {
    for (int t = 0; t < run.count; ++t) {
      tokens.read(run, t);
      for (std::size_t r = 0; r < rows; ++r) {
        if (run.first + t < query.begin[r] || run.first + t >= query.end[r]) continue;
        const double offset = query.key_offset != nullptr ? static_cast<double>(query.key_offset[r]) : 0.0;
        const double score =
            (tokens.product(query.queries + r * width) + offset) * static_cast<double>(query.scale);
        const double common = std::max(max[r], score);
        const double shrink = std::exp(max[r] - common), weight = std::exp(score - common);
        max[r] = common;
        sum[r] = sum[r] * shrink + weight;
        for (std::size_t c = 0; c < dims; ++c) {
          out[r * width + c] = out[r * width + c] * shrink + weight * static_cast<double>(tokens.value()[c]);
        }
      }
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < dims && sum[r] > 0; ++c) out[r * width + c] /= sum[r];
  }
}

}  // namespace veloxquant
