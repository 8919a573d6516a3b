// How one head's queries are seen from frames, and its rows restored, against the formulas in double
// precision.
#include "quantizers/spectral_head.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "attention/attend.hpp"
#include "attention/turned_keys.hpp"
#include "codebook/row_code.hpp"
#include "cpu_levels.hpp"
#include "pack/block_order.hpp"

namespace veloxquant {
namespace {

struct Case {
  int head_dim;
  std::vector<RunPlan> runs;  // coordinates behind them have no bits
  std::int64_t frame;
  RopeConfig::Pairing pairing;
  int rotary_dim;
};

// Head sizes and numbers of coordinates that are no multiples of a vector, both pairings, turned in part.
std::vector<Case> cases() {
  const auto split = RopeConfig::Pairing::half_split, side_by_side = RopeConfig::Pairing::interleaved;
  return {{80, {{CodeKind::scalar, 4, 8}, {CodeKind::trellis, 2, 40}}, 64, split, 80},
          {96, {{CodeKind::scalar, 3, 24}, {CodeKind::scalar, 2, 48}}, 16, side_by_side, 96},
          {128, {{CodeKind::trellis, 3, 56}}, 1, split, 128},
          {64, {{CodeKind::scalar, 4, 15}, {CodeKind::scalar, 2, 18}}, 100, split, 32}};
}

class HeadUnderTest {
 public:
  explicit HeadUnderTest(const Case& c) : dim(static_cast<std::size_t>(c.head_dim)), frame(c.frame) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (auto* numbers : {&mean, &lambda}) numbers->resize(dim);
    for (auto* numbers : {&forward, &inverse}) numbers->resize(dim * dim);
    for (auto* numbers : {&mean, &forward, &inverse}) {
      for (float& x : *numbers) x = normal(random);
    }
    for (std::size_t i = 0; i < dim; ++i) lambda[i] = std::exp2(6.0f - static_cast<float>(i) / 8.0f);
    RopeConfig rope;
    rope.rotary_dim = c.rotary_dim;
    rope.pairing = c.pairing;
    turn = std::make_shared<const RopeTurn>(rope, c.head_dim);
    moments = coded_moments(c.runs, lambda);
    head = std::make_unique<const SpectralHead>(
        SpectralBasis{c.head_dim, mean.data(), forward.data(), inverse.data(), lambda.data()}, c.runs, true,
        turn, c.frame);
  }
  // Coordinate i of the basis's column c.
  double basis(std::size_t i, std::size_t c) const {
    return static_cast<double>(inverse[c * dim + i]) * std::sqrt(static_cast<double>(lambda[c])) *
           moments[c].unbiased();
  }
  // R_p x, or R_-p x.
  std::vector<double> turned(const std::vector<double>& x, std::int64_t position, bool back = false) const {
    std::vector<double> y(x);
    for (const RopeTurn::Pair& pair : turn->pairs()) {
      const double angle =
          static_cast<double>(static_cast<float>(position) * pair.frequency) * (back ? -1.0 : 1.0);
      const auto a = static_cast<std::size_t>(pair.first), b = static_cast<std::size_t>(pair.second);
      y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
      y[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
    }
    return y;
  }
  std::vector<double> mean_at(std::int64_t place) const { return turned({mean.begin(), mean.end()}, place); }

  std::size_t dim;
  std::int64_t frame;
  std::vector<float> mean, lambda, forward, inverse;
  std::vector<CodedMoments> moments;
  std::shared_ptr<const RopeTurn> turn;
  std::unique_ptr<const SpectralHead> head;
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

struct ErrorShare {
  double error = 0, square = 0;
  void add(double wanted, double is) {
    error += (wanted - is) * (wanted - is);
    square += wanted * wanted;
  }
  double value() const { return std::sqrt(error / square); }
};

// Frames one after the other, the same again, behind a gap, and back.
std::vector<std::int64_t> starts_of(std::int64_t frame) {
  return {7, 7 + frame, 7 + 2 * frame, 7 + 2 * frame, 5000, 5000 + frame, 3};
}

// Products in words are off by 2e-5 of |q| |column|, in single precision by less; angles are advanced in
// single precision, up to 64 times.
constexpr double kWordBound = 3e-4, kSingleBound = 1e-4;

TEST(SpectralHead, SeesQueriesFromFrames) {
  for (const Case& c : cases()) {
    const HeadUnderTest made(c);
    const auto coded = static_cast<std::size_t>(made.head->coded_dim());
    for (const int rows : {1, 3, 8}) {
      std::mt19937 random(6);
      std::normal_distribution<float> normal;
      std::vector<float> queries(static_cast<std::size_t>(rows) * made.dim);
      for (float& x : queries) x = normal(random) * (random() % 20 == 0 ? 10.0f : 1.0f);
      const std::vector<std::int64_t> starts = starts_of(c.frame);
      test::on_every_cpu_level([&](const std::string& level) {
        for (const FrameProducts products : {FrameProducts::f32, FrameProducts::words}) {
          FramedQueries seen;
          // In two parts: the second goes on from the first.
          for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 3}, {3, starts.size()}}) {
            made.head->turn_queries(queries.data(), rows, std::span(starts).subspan(begin, end - begin),
                                    products, seen);
            ErrorShare of_codes, of_means;
            for (std::size_t f = 0; f < end - begin; ++f) {
              for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
                const std::vector<double> query(
                    queries.begin() + static_cast<std::ptrdiff_t>(r * made.dim),
                    queries.begin() + static_cast<std::ptrdiff_t>((r + 1) * made.dim));
                const std::vector<double> turned = made.turned(query, starts[begin + f], true);
                for (std::size_t j = 0; j < coded; ++j) {
                  double sum = 0;
                  for (std::size_t i = 0; i < made.dim; ++i) sum += turned[i] * made.basis(i, j);
                  of_codes.add(sum, static_cast<double>(seen.coded_of(f)[r * seen.stride + j]));
                }
                for (std::int64_t t = 0; t < c.frame; ++t)
                  of_means.add(dot(turned, made.mean_at(t)), static_cast<double>(seen.means_of(f, r)[t]));
              }
            }
            const double bound = products == FrameProducts::words ? kWordBound : kSingleBound;
            EXPECT_LT(of_codes.value(), bound) << level << " " << c.head_dim << " " << rows;
            EXPECT_LT(of_means.value(), bound) << level << " " << c.head_dim << " " << rows;
          }
        }
      });
    }
  }
}

TEST(SpectralHead, RestoresKeys) {
  for (const Case& c : cases()) {
    const HeadUnderTest made(c);
    const auto coded = static_cast<std::size_t>(made.head->coded_dim());
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::vector<TokenPlace> places;
    for (const std::int64_t start : starts_of(c.frame)) {
      for (std::int64_t t = 0; t < std::min<std::int64_t>(c.frame, 3); ++t)
        places.push_back({.position = start + c.frame - 1 - t, .frame_start = start});
    }
    std::vector<float> rows(places.size() * coded);
    for (float& x : rows) x = normal(random);
    test::on_every_cpu_level([&](const std::string& level) {
      for (const FrameProducts products : {FrameProducts::f32, FrameProducts::words}) {
        std::vector<float> keys(places.size() * made.dim);
        made.head->restore_keys(rows.data(), places.data(), places.size(), products, keys.data());
        ErrorShare share;
        for (std::size_t k = 0; k < places.size(); ++k) {
          std::vector<double> key = made.mean_at(places[k].position - places[k].frame_start);
          for (std::size_t i = 0; i < made.dim; ++i) {
            for (std::size_t j = 0; j < coded; ++j)
              key[i] += made.basis(i, j) * static_cast<double>(rows[k * coded + j]);
          }
          key = made.turned(key, places[k].frame_start);
          for (std::size_t i = 0; i < made.dim; ++i)
            share.add(key[i], static_cast<double>(keys[k * made.dim + i]));
        }
        EXPECT_LT(share.value(), products == FrameProducts::words ? kWordBound : kSingleBound)
            << level << " " << c.head_dim;
      }
    });
  }
}

// Scores of blocks through the kernel of the codes, blocks one after the other, behind a gap and back.
TEST(SpectralHead, KernelsReadShortFrames) {
  const auto split = RopeConfig::Pairing::half_split, side_by_side = RopeConfig::Pairing::interleaved;
  const std::vector<RunPlan> runs = {
      {CodeKind::scalar, 4, 16}, {CodeKind::trellis, 3, 24}, {CodeKind::trellis, 2, 24}};
  for (const Case& c : {Case{128, runs, 1, split, 128}, Case{80, runs, 8, side_by_side, 40}}) {
    const HeadUnderTest made(c);
    const CodeSpec& spec = made.head->spec();
    std::mt19937 random(8);
    std::normal_distribution<float> normal;
    std::vector<float> rows(kBlockTokens * made.dim), coded(spec.head_dim);
    for (float& x : rows) x = 10 * normal(random);
    const auto order = block_order(spec, Role::keys);
    std::vector<std::uint8_t> codes(kBlockTokens * spec.code_bytes()), gains(kBlockTokens);
    AttendScratch memory, result;
    auto* block = reinterpret_cast<std::uint8_t*>(memory.reserve(order->bytes() / 4 + 16));
    float* scores = result.reserve(2 * kKernelRows * kBlockTokens);
    float* offsets = scores + kKernelRows * kBlockTokens;
    test::on_every_cpu_level([&](const std::string& level) {
      const auto keys = TurnedKeys::make(*made.head, find_key_kernel(spec, AttentionArithmetic::fast));
      if (keys == nullptr) {
        EXPECT_NE(level, "AVX3_DL");
        return;
      }
      for (const int count : {1, 3, 8}) {
        std::vector<float> queries(static_cast<std::size_t>(count) * made.dim);
        for (float& x : queries) x = normal(random);
        TurnedQueries state;
        keys->begin(queries.data(), count, state);
        for (const std::int64_t start : {7, 71, 135, 9000, 3}) {
          std::vector<TokenPlace> places;
          for (std::int64_t t = 0; t < kBlockTokens; ++t)
            places.push_back({.position = start + t, .frame_start = start + t / c.frame * c.frame});
          made.head->encode(rows.data(), places.data(), kBlockTokens, codes.data(), gains.data());
          order->pack(codes.data(), gains.data(), block);
          keys->score(start, block, nullptr, state, scores, offsets);
          ErrorShare share;
          for (std::size_t t = 0; t < kBlockTokens; ++t) {
            std::vector<double> key = made.mean_at(static_cast<std::int64_t>(t) % c.frame);
            decode_row(spec, codes.data() + t * spec.code_bytes(), gains.data() + t, coded.data());
            for (std::size_t i = 0; i < made.dim; ++i) {
              for (std::size_t j = 0; j < coded.size(); ++j)
                key[i] += made.basis(i, j) * static_cast<double>(coded[j]);
            }
            key = made.turned(key, places[t].frame_start);
            const auto gain = static_cast<double>(gain_value(gains[t]));
            for (std::size_t r = 0; r < static_cast<std::size_t>(count); ++r) {
              double wanted = 0;
              for (std::size_t i = 0; i < made.dim; ++i)
                wanted += key[i] * static_cast<double>(queries[r * made.dim + i]);
              const std::size_t at = r * kBlockTokens + t;
              share.add(wanted, gain * static_cast<double>(scores[at]) + static_cast<double>(offsets[at]));
            }
          }
          EXPECT_LT(share.value(), 0.015) << level << " " << c.frame << " " << count << " " << start;
        }
      }
    });
  }
  // A block of such frames may begin in the middle of one.
  const HeadUnderTest seven({128, runs, 7, split, 128});
  EXPECT_EQ(TurnedKeys::make(*seven.head, find_key_kernel(seven.head->spec(), AttentionArithmetic::fast)),
            nullptr);
}

}  // namespace
}  // namespace veloxquant
