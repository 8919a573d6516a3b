// Trains the trellis tables and prints src/codebook/trellis_tables.cpp.
//
// Generalized Lloyd iteration: encode random vectors with the table, then move each entry to the mean of the
// elements whose window it was. Windows w and 255 - w are pooled with opposite signs, so that the table stays
// antisymmetric. A Gaussian table in random order stands at the start; noise added to the table before each
// round, and lowered to zero, carries it past poor local optima. Vectors are drawn anew in every round,
// uniform on the sphere of radius sqrt(128). The best of several trainings from fixed seeds is kept; its
// distortion is measured on other vectors.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "codebook/trellis.hpp"

namespace {

using veloxquant::TrellisTable;

constexpr int kDim = 128;
constexpr int kNoisyRounds = 6000;
constexpr int kNoisyVectors = 500;  // a round
constexpr int kFinalRounds = 40;
constexpr int kFinalVectors = 16000;
constexpr int kMeasuredVectors = 200000;
constexpr double kFirstNoise = 0.5;  // times 2^-bits standard deviations, about the error of an element
constexpr std::uint64_t kSeeds = 4;

struct Cells {
  std::array<double, 256> sum = {};  // of the elements with this window
  std::array<double, 256> count = {};
  double error = 0;
  double energy = 0;
  double distortion() const { return error / energy; }
};

void draw(std::mt19937_64& random, std::array<float, kDim>& z) {
  std::normal_distribution<float> normal;
  double energy = 0;
  for (float& value : z) {
    value = normal(random);
    energy += static_cast<double>(value) * static_cast<double>(value);
  }
  const float scale = static_cast<float>(std::sqrt(kDim / energy));
  for (float& value : z) value *= scale;
}

// A table that decodes to the windows themselves.
TrellisTable window_table(int bits) {
  TrellisTable table{bits, {}, 0};
  for (std::size_t w = 0; w < 256; ++w) table.values[w] = static_cast<std::int16_t>(w);
  return table;
}

Cells encode_sample(const TrellisTable& table, int vectors, std::mt19937_64& random) {
  const TrellisTable windows = window_table(table.bits);
  Cells cells;
  std::array<float, kDim> z;
  std::array<float, kDim> decoded;
  std::array<std::uint8_t, kDim / 2> codes;
  for (int v = 0; v < vectors; ++v) {
    draw(random, z);
    veloxquant::trellis_encode(table, z.data(), kDim, codes.data());
    veloxquant::trellis_decode(windows, codes.data(), kDim, decoded.data());
    for (std::size_t t = 0; t < kDim; ++t) {
      const auto w = static_cast<std::size_t>(std::lrint(decoded[t] * 4096));
      const double x = static_cast<double>(z[t]);
      const double difference = x - table.values[w] / 4096.0;
      cells.sum[w] += x;
      cells.count[w] += 1;
      cells.error += difference * difference;
      cells.energy += x * x;
    }
  }
  return cells;
}

class Training {
 public:
  Training(int bits, std::uint64_t seed) : random_(seed * 8 + static_cast<std::uint64_t>(bits)) {
    table_.bits = bits;
    for (double& value : half_) value = normal_(random_);
  }

  TrellisTable run() {
    const double first_noise = kFirstNoise * std::ldexp(1.0, -table_.bits);
    for (int round = 0; round < kNoisyRounds; ++round) {
      update(kNoisyVectors, first_noise * (kNoisyRounds - round) / kNoisyRounds);
    }
    for (int round = 0; round < kFinalRounds; ++round) update(kFinalVectors, 0);
    set_table(0);
    std::mt19937_64 others(1000);
    table_.distortion = encode_sample(table_, kMeasuredVectors, others).distortion();
    return table_;
  }

 private:
  void set_table(double noise) {
    for (std::size_t w = 0; w < 128; ++w) {
      const double value = std::clamp(half_[w] + noise * normal_(random_), -3.99, 3.99);
      table_.values[w] = static_cast<std::int16_t>(std::lrint(value * 4096));
      table_.values[255 - w] = static_cast<std::int16_t>(-table_.values[w]);
    }
  }

  void update(int vectors, double noise) {
    set_table(noise);
    const Cells cells = encode_sample(table_, vectors, random_);
    for (std::size_t w = 0; w < 128; ++w) {
      const double count = cells.count[w] + cells.count[255 - w];
      half_[w] = count > 0 ? (cells.sum[w] - cells.sum[255 - w]) / count : normal_(random_);
    }
  }

  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::array<double, 128> half_;  // entries 0..127; entry 255 - w is minus entry w
  TrellisTable table_ = {};
};

void print_table(const TrellisTable& table) {
  fmt::print("    {{.bits = {},\n     .values =\n         {{\n", table.bits);
  for (std::size_t w = 0; w < 256; ++w) {
    fmt::print("{}{},{}", w % 12 == 0 ? "             " : "", table.values[w],
               w % 12 == 11 || w == 255 ? "\n" : " ");
  }
  fmt::print("         }},\n     .distortion = {:.5f}}},\n", table.distortion);
}

}  // namespace

int main() {
  std::array<TrellisTable, 4 * kSeeds> trained;
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t job = next++; job < trained.size(); job = next++) {
      trained[job] = Training(static_cast<int>(job / kSeeds) + 1, job % kSeeds + 1).run();
      fmt::print(stderr, "{} bits, seed {}: {:.5f}\n", trained[job].bits, job % kSeeds + 1,
                 trained[job].distortion);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();

  fmt::print("// Printed by tools/train_trellis.cpp.\n#include \"codebook/trellis_search.hpp\"\n\n");
  fmt::print("namespace veloxquant::trellis {{\n\n// clang-format off\n");
  fmt::print("const std::array<TrellisTable, 4> kTables = {{{{\n");
  for (std::size_t i = 0; i < trained.size(); i += kSeeds) {
    const auto lower = [](const TrellisTable& a, const TrellisTable& b) {
      return a.distortion < b.distortion;
    };
    print_table(*std::min_element(trained.begin() + static_cast<std::ptrdiff_t>(i),
                                  trained.begin() + static_cast<std::ptrdiff_t>(i + kSeeds), lower));
  }
  fmt::print("}}}};\n// clang-format on\n\n}}  // namespace veloxquant::trellis\n");
}
