// Block kernels against the double-precision reference on the same codes.
//
// The fast arithmetic is held to a share of the error that the code itself makes: the vectors behind the
// codes are Gaussian and coded by the scalar codebook, so the reference on the exact vectors is known too.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/attend_blocks.hpp"
#include "attention/random_cache.hpp"
#include "codebook/row_code.hpp"
#include "core/dispatch.hpp"
#include "pack/block_order.hpp"

namespace veloxquant::test {
namespace {

// Exact vectors, their codes as canonical rows, and as pages of blocks.
class CodedHistory {
 public:
  CodedHistory(const RowCode& keys, const RowCode& values, int tokens, std::mt19937& random)
      : tokens_(tokens),
        key_order_(block_order(keys.spec(), Role::keys)),
        value_order_(block_order(values.spec(), Role::values)) {
    const auto blocks = static_cast<std::size_t>((tokens + 63) / 64);
    exact_[0] = normals(blocks, keys.spec().head_dim, random);
    exact_[1] = normals(blocks, values.spec().head_dim, random);
    codes_[0] = encode(keys, exact_[0]);
    codes_[1] = encode(values, exact_[1]);
    const std::size_t page = key_order_->bytes() + value_order_->bytes();
    memory_.resize(blocks * page + 64);
    auto* at = memory_.data() + (64 - reinterpret_cast<std::uintptr_t>(memory_.data()) % 64) % 64;
    for (std::size_t b = 0; b < blocks; ++b, at += page) {
      pages_.push_back(at);
      pack(*key_order_, codes_[0], b, at);
      pack(*value_order_, codes_[1], b, at + key_order_->bytes());
    }
    run(keys.spec(), values.spec());
  }

  BlockRange range() const {
    return {.pages = pages_.data(),
            .keys = 0,
            .values = key_order_->bytes(),
            .count = static_cast<int>(pages_.size()),
            .first = 0};
  }
  const std::vector<TokenRun>& runs() const { return runs_; }
  const std::vector<TokenRun>& exact_runs() const { return exact_runs_; }

 private:
  struct Codes {
    std::vector<std::uint8_t> codes, scales;
  };
  static std::vector<float> normals(std::size_t blocks, int head_dim, std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> values(blocks * 64 * static_cast<std::size_t>(head_dim));
    for (float& value : values) value = normal(random);
    return values;
  }
  static Codes encode(const RowCode& code, const std::vector<float>& rows) {
    const CodeSpec& spec = code.spec();
    const std::size_t count = rows.size() / static_cast<std::size_t>(spec.head_dim);
    Codes coded{std::vector<std::uint8_t>(count * spec.code_bytes()),
                std::vector<std::uint8_t>(count * spec.scale_bytes())};
    for (std::size_t i = 0; i < count; ++i) {
      code.encode(rows.data() + i * static_cast<std::size_t>(spec.head_dim),
                  coded.codes.data() + i * spec.code_bytes(), coded.scales.data() + i * spec.scale_bytes());
    }
    return coded;
  }
  static void pack(const BlockOrder& order, const Codes& coded, std::size_t block, std::uint8_t* to) {
    order.pack(coded.codes.data() + block * 64 * order.code_bytes(),
               coded.scales.data() + block * 64 * order.scale_bytes(), to);
  }
  void run(const CodeSpec& keys, const CodeSpec& values) {
    const auto width = static_cast<std::size_t>(keys.head_dim);
    for (int first = 0; first < tokens_; first += 64) {
      const auto at = static_cast<std::size_t>(first);
      const int count = std::min(64, tokens_ - first);
      runs_.push_back({codes_[0].codes.data() + at * keys.code_bytes(),
                       codes_[0].scales.data() + at * keys.scale_bytes(),
                       codes_[1].codes.data() + at * values.code_bytes(),
                       codes_[1].scales.data() + at * values.scale_bytes(), first, count});
      exact_runs_.push_back({reinterpret_cast<const std::uint8_t*>(exact_[0].data() + at * width), nullptr,
                             reinterpret_cast<const std::uint8_t*>(exact_[1].data() + at * width), nullptr,
                             first, count});
    }
  }

  int tokens_;
  std::unique_ptr<const BlockOrder> key_order_, value_order_;
  std::vector<float> exact_[2];
  Codes codes_[2];
  std::vector<std::uint8_t> memory_;
  std::vector<const std::uint8_t*> pages_;
  std::vector<TokenRun> runs_, exact_runs_;
};

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

struct Shape {
  int key_bits, value_bits, head_dim, tokens, rows;
  Visibility visibility;
  float sharpness;  // of the softmax: standard deviation of the scores
};

// Squared error of the kernels over that of the codes; below 0 when the level has no kernels.
double error_share(const Shape& s, std::mt19937& random) {
  const auto keys = make_scalar_code(s.key_bits, s.head_dim, ScaleMode::matched);
  const auto values = make_scalar_code(s.value_bits, s.head_dim, ScaleMode::matched);
  const KeyKernel key_kernel = find_key_kernel(keys->spec(), AttentionArithmetic::fast);
  const ValueKernel value_kernel = find_value_kernel(values->spec(), AttentionArithmetic::fast);
  if (key_kernel.scores == nullptr || value_kernel.add == nullptr) return -1;
  const CodedHistory history(*keys, *values, s.tokens, random);
  const RandomQueries queries(s.rows, s.head_dim, s.tokens, s.visibility, 1, random);
  AttendQuery query = queries.query();
  query.scale *= s.sharpness;
  const std::size_t size = queries.values.size();
  std::vector<double> coded(size), exact(size), fast(size);
  attend_reference(keys->spec(), values->spec(), history.runs(), query, coded.data());
  const CodeSpec f32{CodeKind::f32, 32, s.head_dim, 0, nullptr};
  attend_reference(f32, f32, history.exact_runs(), query, exact.data());
  PartialBuffers got(s.rows, s.head_dim);
  AttendScratch scratch;
  attend_blocks(key_kernel, value_kernel, history.range(), query, got.partial(), scratch);
  for (std::size_t i = 0; i < size; ++i) {
    const float sum = got.sum[i / static_cast<std::size_t>(s.head_dim)];
    fast[i] = sum > 0 ? static_cast<double>(got.out[i] / sum) : 0;
  }
  return squared_distance(fast, coded) / squared_distance(coded, exact);
}

TEST(BlockKernels, FastArithmeticLosesLittleBesideTheCode) {
  on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(3);
    for (int bits = 1; bits <= 8; ++bits) {
      for (float sharpness : {0.5f, 1.0f, 4.0f, 10.0f}) {
        double worst = 0;
        for (int head_dim : {64, 128}) {
          worst = std::max(worst,
                           error_share({bits, bits, head_dim, 1000, 8, Visibility::all, sharpness}, random));
        }
        EXPECT_LE(worst, 0.02) << level << " " << bits << " bits, sharpness " << sharpness;
        if (std::getenv("VELOX_PRINT"))
          printf("%s %d bits sharp %g: %.5f\n", level.c_str(), bits, static_cast<double>(sharpness), worst);
      }
    }
  });
}

TEST(BlockKernels, EveryHeadSizeNumberOfRowsLengthAndMask) {
  on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(4);
    int turn = 0;
    for (int head_dim : {16, 64, 80, 96, 112, 128, 192, 256}) {
      for (int rows : {1, 2, 3, 4, 5, 8}) {
        for (int tokens : {1, 63, 64, 65, 130, 4097}) {
          if (tokens > 130 && turn % 5 != 0) continue;
          const Visibility visibility[] = {Visibility::all, Visibility::causal, Visibility::window,
                                           Visibility::some_empty};
          const Shape shape{1 + turn % 8, 1 + turn / 8 % 8,         head_dim, tokens,
                            rows,         visibility[turn / 3 % 4], 1.0f};
          ++turn;
          EXPECT_LE(error_share(shape, random), 0.03)
              << level << ", bits " << shape.key_bits << " " << shape.value_bits << ", head_dim " << head_dim
              << ", rows " << rows << ", tokens " << tokens << ", visibility "
              << static_cast<int>(shape.visibility);
        }
      }
    }
  });
}

// One token takes nearly all the weight of a row.
TEST(BlockKernels, PeakyRows) {
  on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(5);
    for (int bits = 1; bits <= 8; ++bits) {
      const double share = error_share({bits, bits, 128, 500, 8, Visibility::all, 30.0f}, random);
      EXPECT_LE(share, 0.02) << level << " " << bits;
    }
  });
}

// No level decodes where docs/architecture.md says that it reads packed codes, or the reverse.
TEST(BlockKernels, LevelsHaveTheKernelsThatTheyAreSaidToHave) {
  on_every_cpu_level([](const std::string& level) {
    EXPECT_EQ(cpu_level(), level);
    EXPECT_FALSE(level == "NEON" && level_has_dot_products());
    const bool avx2 = level == "AVX3_DL" || level == "AVX3" || level == "AVX2";
    const auto expect = [&](const std::unique_ptr<RowCode>& code, bool kernels) {
      const CodeSpec& spec = code->spec();
      EXPECT_EQ(find_key_kernel(spec, AttentionArithmetic::fast).scores != nullptr, kernels)
          << level << ", keys in " << spec.name();
      EXPECT_EQ(find_value_kernel(spec, AttentionArithmetic::fast).add != nullptr, kernels)
          << level << ", values in " << spec.name();
    };
    for (int bits = 1; bits <= 8; ++bits) {
      expect(make_scalar_code(bits, 128, ScaleMode::one), avx2 || (bits <= 4 && level_has_dot_products()));
    }
    for (int bits = 1; bits <= 4; ++bits) expect(make_trellis_code(bits, 128, ScaleMode::one), avx2);
    for (const int bits : {2, 3, 4, 5, 6, 8}) expect(make_affine_code(bits, 64, 128), avx2);
    for (const int bits : {4, 8}) expect(make_integer_code(bits, 128), avx2);
  });
}

}  // namespace
}  // namespace veloxquant::test
