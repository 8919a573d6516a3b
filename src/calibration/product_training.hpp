// Codebooks of product codes: k-means on sub-vectors, seeded by k-means++ (Arthur and Vassilvitskii 2007).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace veloxquant {

// Fewer samples for a centroid would be learnt by heart.
inline constexpr std::size_t kLeastSamples = 4;

struct ProductTraining {
  int bits = 8;     // 2^bits centroids; 8 or 12
  int dims = 4;     // coordinates of a sub-vector; 4 or 8
  int rounds = 16;  // of Lloyd's algorithm at most; it ends when a round gains less than 1 in 2,000
  std::uint64_t seed = 0;
};

struct ProductCodebook {
  std::vector<float> centroids;  // [2^bits, dims]
  float distortion = 0;          // sum of the squared errors of the samples over the sum of their squares
};

// `samples` [count, dims], finite. The result depends on the samples and the seed only. Throws ConfigError for
// fewer than kLeastSamples samples for each centroid.
ProductCodebook train_product(std::span<const float> samples, const ProductTraining& training);

}  // namespace veloxquant
