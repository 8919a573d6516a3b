#include "calibration/product_training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <veloxquant/core/error.hpp>

#include "codebook/product_table.hpp"
#include "transform/random.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kSeedSamples = 16;  // that seeding looks at, for each centroid
constexpr std::size_t kBlock = 256;       // samples whose distances are summed together
constexpr double kLeastGain = 5e-4;

float squared_distance(const float* a, const float* b, std::size_t dims) {
  float sum = 0;
  for (std::size_t c = 0; c < dims; ++c) {
    const float difference = a[c] - b[c];
    sum += difference * difference;
  }
  return sum;
}

// Of `count` samples, one every `step` floats: distances[i] <- the squared distance from `seed` where it is
// the shorter one. Returns the sum of the distances.
template <std::size_t Dims>
double shorten(const float* samples, std::size_t step, std::size_t count, const float* seed,
               float* distances) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    distances[i] = std::min(distances[i], squared_distance(samples + i * step, seed, Dims));
    sum += static_cast<double>(distances[i]);
  }
  return sum;
}

class Training {
 public:
  Training(std::span<const float> samples, const ProductTraining& training)
      : samples_(samples.data()),
        dims_(static_cast<std::size_t>(training.dims)),
        count_(samples.size() / dims_),
        wanted_(std::size_t{1} << training.bits),
        training_(training) {
    if (count_ < kLeastSamples * wanted_) {
      throw ConfigError("precompute",
                        fmt::format("{} sub-vectors of calibration for {} centroids; it takes {} for each: "
                                    "give more text",
                                    count_, wanted_, kLeastSamples));
    }
  }

  ProductCodebook run() {
    centroids_ = seeds();
    double error = assign();
    for (int round = 0; round < training_.rounds; ++round) {
      const double before = error;
      move();
      error = assign();
      if (error > before * (1 - kLeastGain)) break;
    }
    double energy = 0;
    for (std::size_t i = 0; i < count_ * dims_; ++i)
      energy += static_cast<double>(samples_[i]) * static_cast<double>(samples_[i]);
    return {std::move(centroids_), energy > 0 ? static_cast<float>(error / energy) : 0.0f};
  }

 private:
  const float* sample(std::size_t i) const { return samples_ + i * dims_; }

  // Each seed is a sample drawn with the probability of its squared distance from the seeds before it, among
  // samples at equal steps. The step is odd: vectors have even numbers of sub-vectors, all to be seen.
  std::vector<float> seeds() const {
    SplitMix64 random(training_.seed);
    const std::size_t stride = count_ / (kSeedSamples * wanted_) | 1, some = count_ / stride;
    std::vector<float> distances(some, std::numeric_limits<float>::max()), centroids;
    std::vector<double> sums((some + kBlock - 1) / kBlock);
    std::size_t chosen = random.below(some);
    for (;;) {
      const float* seed = sample(chosen * stride);
      centroids.insert(centroids.end(), seed, seed + dims_);
      if (centroids.size() == wanted_ * dims_) return centroids;
      for (std::size_t b = 0; b < sums.size(); ++b) {
        const std::size_t first = b * kBlock;
        sums[b] = (dims_ == 4 ? shorten<4> : shorten<8>)(sample(first * stride), stride * dims_,
                                                         std::min(kBlock, some - first), seed,
                                                         distances.data() + first);
      }
      chosen = draw(distances, sums, (random.symmetric() + 1) / 2);
    }
  }

  static std::size_t draw(const std::vector<float>& distances, const std::vector<double>& sums, double at) {
    double left = at * std::accumulate(sums.begin(), sums.end(), 0.0);
    std::size_t block = 0;
    while (block + 1 < sums.size() && left >= sums[block]) left -= sums[block++];
    std::size_t i = block * kBlock;
    while (i + 1 < std::min(distances.size(), (block + 1) * kBlock) &&
           left >= static_cast<double>(distances[i])) {
      left -= static_cast<double>(distances[i++]);
    }
    return i;
  }

  // The nearest centroid of every sample; returns the sum of the squared distances.
  double assign() {
    nearest_.resize(count_);
    distances_.resize(count_);
    ProductTable(centroids_, training_.bits, training_.dims).nearest(samples_, count_, nearest_.data());
    double sum = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      distances_[i] = squared_distance(sample(i), centroids_.data() + nearest_[i] * dims_, dims_);
      sum += static_cast<double>(distances_[i]);
    }
    return sum;
  }

  // Centroids to the means of their samples; those without samples to the samples that are coded worst.
  void move() {
    std::vector<double> sums(wanted_ * dims_);
    std::vector<std::size_t> counts(wanted_);
    for (std::size_t i = 0; i < count_; ++i) {
      ++counts[nearest_[i]];
      for (std::size_t c = 0; c < dims_; ++c)
        sums[nearest_[i] * dims_ + c] += static_cast<double>(sample(i)[c]);
    }
    for (std::size_t j = 0; j < wanted_; ++j) {
      if (counts[j] == 0) {
        const auto worst = std::max_element(distances_.begin(), distances_.end());
        std::copy_n(sample(static_cast<std::size_t>(worst - distances_.begin())), dims_,
                    centroids_.data() + j * dims_);
        *worst = 0;
        continue;
      }
      for (std::size_t c = 0; c < dims_; ++c)
        centroids_[j * dims_ + c] = static_cast<float>(sums[j * dims_ + c] / static_cast<double>(counts[j]));
    }
  }

  const float* samples_;
  std::size_t dims_, count_, wanted_;
  const ProductTraining& training_;
  std::vector<float> centroids_, distances_;
  std::vector<std::uint16_t> nearest_;
};

}  // namespace

ProductCodebook train_product(std::span<const float> samples, const ProductTraining& training) {
  return Training(samples, training).run();
}

}  // namespace veloxquant
