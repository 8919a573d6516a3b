#include "calibration/key_metric.hpp"

#include <algorithm>
#include <cmath>

#include "linalg/gram.hpp"
#include "linalg/matrix_vector.hpp"
#include "transform/random.hpp"

namespace veloxquant {
namespace {

constexpr int kDraws = 64;

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

// [rows, columns] with padded rows, as multiply_rows takes it.
std::vector<float> padded(const float* from, int rows, int columns) {
  const auto stride = as_size(padded_columns(columns)), width = as_size(columns);
  std::vector<float> result(as_size(rows) * stride);
  for (std::size_t r = 0; r < as_size(rows); ++r)
    std::copy_n(from + r * width, width, result.data() + r * stride);
  return result;
}

// x^T G x of every row.
std::vector<float> quadratic_forms(const float* rows, std::size_t count, const std::vector<float>& gram,
                                   int n) {
  const std::size_t width = as_size(n);
  std::vector<float> product(count * width + kMatrixPad), result(count);
  multiply_rows(rows, static_cast<int>(count), gram.data(), n, n, product.data());
  for (std::size_t r = 0; r < count; ++r) {
    float sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += rows[r * width + i] * product[r * width + i];
    result[r] = sum;
  }
  return result;
}

}  // namespace

double add_key_metric(const MetricInput& in, const RopeTurn& turn, double scale, std::uint64_t seed,
                      std::span<double> metric) {
  const int n = in.head_dim, samples = static_cast<int>(in.sampled.size());
  const std::size_t width = as_size(n), tokens = as_size(in.tokens), columns = as_size(samples);
  const std::vector<float> gram = padded(in.output_gram.data(), n, n);
  std::vector<float> sampled_values(columns * width);
  for (std::size_t s = 0; s < columns; ++s) {
    std::copy_n(in.values + as_size(in.sampled[s]) * width, width, sampled_values.data() + s * width);
  }
  const std::vector<float> of_outputs = quadratic_forms(in.outputs, tokens, gram, n);
  const std::vector<float> of_values = quadratic_forms(sampled_values.data(), columns, gram, n);
  // cross[i, s] = o_i^T G v_s
  std::vector<float> turned(columns * width + kMatrixPad), transposed(width * columns),
      cross(tokens * columns + kMatrixPad);
  multiply_rows(sampled_values.data(), samples, gram.data(), n, n, turned.data());
  for (std::size_t s = 0; s < columns; ++s) {
    for (std::size_t i = 0; i < width; ++i) transposed[i * columns + s] = turned[s * width + i];
  }
  multiply_rows(in.outputs, static_cast<int>(in.tokens), padded(transposed.data(), n, samples).data(), n,
                samples, cross.data());

  SplitMix64 random(seed);
  std::vector<float> batch;
  std::vector<double> weights(tokens);
  double squares = 0;
  for (std::size_t s = 0; s < columns; ++s) {
    const std::size_t first = as_size(in.sampled[s]);
    double total = 0;
    for (std::size_t i = first; i < tokens; ++i) {
      const auto p = static_cast<double>(in.probabilities[i * columns + s]);
      const float distance = of_values[s] - 2 * cross[i * columns + s] + of_outputs[i];
      squares += p * p;
      const double effect = p * p * static_cast<double>(std::max(distance, 0.0f));
      total += weights[i] = in.all_alike ? 1 : effect;
    }
    if (!(total > 0)) continue;
    const TurnAngles angles = turn.angles(in.sampled[s]);
    const double share = total / kDraws;
    double next = (random.symmetric() + 1) / 2 * share, passed = 0;
    for (std::size_t i = first; i < tokens; ++i) {
      passed += weights[i];
      int draws = 0;
      for (; next < passed; next += share) ++draws;
      if (draws == 0) continue;
      const auto factor = static_cast<float>(std::sqrt(scale * share * draws / n));
      batch.resize(batch.size() + width);
      float* row = batch.data() + batch.size() - width;
      turn.back(angles, in.queries + i * width, row);
      for (std::size_t c = 0; c < width; ++c) row[c] *= factor;
    }
  }
  add_gram(batch.data(), batch.size() / width, n, metric.data());
  return squares * scale;
}

}  // namespace veloxquant
