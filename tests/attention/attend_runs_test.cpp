// attend_runs() against the double-precision reference on the same codes.
#include <gtest/gtest.h>

#include "attention/attend.hpp"
#include "attention/random_cache.hpp"
#include "codebook/row_code.hpp"

namespace veloxquant::test {
namespace {

constexpr Visibility kVisibilities[] = {Visibility::all, Visibility::causal, Visibility::window,
                                        Visibility::some_empty, Visibility::none};
constexpr int kRows[] = {1, 2, 3, 4, 5, 8, 9, 32, 77, 256};
constexpr int kHeadDims[] = {64, 80, 96, 112, 128, 192, 256};

// The largest |out / sum - reference| of a row, relative to the reference's norm. Rows that see nothing must
// say so.
double worst_error(const PartialBuffers& got, const std::vector<double>& reference,
                   const AttendQuery& query) {
  const auto dims = static_cast<std::size_t>(query.head_dim);
  double worst = 0;
  for (std::size_t r = 0; r < got.max.size(); ++r) {
    if (query.begin[r] >= query.end[r]) {
      EXPECT_EQ(got.max[r], -std::numeric_limits<float>::infinity());
      EXPECT_EQ(got.sum[r], 0.0f);
      for (std::size_t c = 0; c < dims; ++c) EXPECT_EQ(got.out[r * dims + c], 0.0f);
      continue;
    }
    double error = 0, norm = 0;
    for (std::size_t c = 0; c < dims; ++c) {
      const double value = static_cast<double>(got.out[r * dims + c]) / static_cast<double>(got.sum[r]);
      const double expected = reference[r * dims + c];
      error += (value - expected) * (value - expected);
      norm += expected * expected;
    }
    const double relative = std::sqrt(error / norm);
    if (std::isnan(relative)) return relative;
    worst = std::max(worst, relative);
  }
  return worst;
}

struct Case {
  CodeSpec keys, values;
  int tokens, rows, group;
  Visibility visibility;
  bool ragged;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.keys.name() << " / " << c.values.name() << ", head_dim " << c.keys.head_dim << ", " << c.tokens
       << " tokens, " << c.rows << " rows, visibility " << static_cast<int>(c.visibility) << ", ragged "
       << c.ragged;
}

// One case on every CPU level; the reference is worked out once.
void expect_close(const Case& c, std::mt19937& random, double bound = 1e-5) {
  const RandomCache cache(c.keys, c.values, c.tokens, c.ragged, random);
  const RandomQueries queries(c.rows, c.keys.head_dim, c.tokens, c.visibility, c.group, random);
  const AttendQuery query = queries.query(c.tokens % 2 == 0);
  std::vector<double> reference(queries.values.size());
  attend_reference(c.keys, c.values, cache.runs(), query, reference.data());
  AttendScratch scratch;
  on_every_cpu_level([&](const std::string& level) {
    PartialBuffers got(c.rows, c.keys.head_dim);
    attend_runs(tile_decoder(c.keys), tile_decoder(c.values), cache.runs(), query, got.partial(), scratch);
    EXPECT_LE(worst_error(got, reference, query), bound) << level << ", " << testing::PrintToString(c);
  });
}

// As coded in a basis; what is behind their coordinates is zero.
TEST(AttendRuns, ValuesOfFewerCoordinates) {
  std::mt19937 random(10);
  const CodeSpec keys = make_spec({CodeKind::f16, 16, 0}, 128);
  for (const int dims : {2, 40, 96}) {
    for (const int rows : kRows) {
      expect_close({keys, make_spec({CodeKind::scalar, 4, 0}, dims), 150, rows, 1, Visibility::causal, true},
                   random);
    }
  }
}

TEST(AttendRuns, EveryCodeAndHeadSize) {
  std::mt19937 random(11);
  unsigned turn = 0;
  for (const CodeChoice& code : all_codes()) {
    for (int head_dim : kHeadDims) {
      if (!exists(code, head_dim)) continue;
      const CodeSpec spec = make_spec(code, head_dim);
      for (int rows : {4, 17}) {
        const Visibility visibility = kVisibilities[turn++ % 4];
        expect_close({spec, spec, 150 + static_cast<int>(turn % 60), rows, 4, visibility, turn % 2 == 0},
                     random);
      }
    }
  }
}

TEST(AttendRuns, EveryNumberOfRowsLengthAndMask) {
  std::mt19937 random(12);
  const CodeSpec keys = make_spec({CodeKind::scalar, 4, 0}, 64),
                 values = make_spec({CodeKind::f16, 16, 0}, 64);
  unsigned turn = 0;
  for (int rows : kRows) {
    for (int tokens : {1, 2, 63, 64, 65, 130}) {
      for (Visibility visibility : kVisibilities) {
        const int group = rows % 8 == 0 ? 8 : rows % 4 == 0 ? 4 : 1;
        expect_close({keys, values, tokens, rows, group, visibility, turn++ % 2 == 0}, random);
      }
    }
  }
}

TEST(AttendRuns, LongHistories) {
  std::mt19937 random(13);
  unsigned turn = 0;
  for (const CodeChoice& code : {CodeChoice{CodeKind::trellis, 2, 0}, CodeChoice{CodeKind::affine, 4, 32},
                                 CodeChoice{CodeKind::bf16, 16, 0}}) {
    const CodeSpec spec = make_spec(code, 128);
    for (int rows : {1, 8, 24}) {
      for (int tokens : {1000, 4097}) {
        expect_close({spec, spec, tokens, rows, 8, kVisibilities[turn % 3], turn % 2 == 0}, random);
        ++turn;
      }
    }
  }
}

TEST(AttendRuns, KeysAndValuesOfDifferentCodes) {
  std::mt19937 random(14);
  const CodeSpec scalar = make_spec({CodeKind::scalar, 3, 0}, 96),
                 affine = make_spec({CodeKind::affine, 8, 32}, 96);
  const CodeSpec trellis = make_spec({CodeKind::trellis, 1, 0}, 96);
  expect_close({scalar, affine, 200, 6, 1, Visibility::causal, true}, random);
  expect_close({affine, trellis, 200, 40, 4, Visibility::window, true}, random);
}

TEST(AttendRuns, HeadSizesThatFillNoWholeVector) {
  std::mt19937 random(15);
  for (int head_dim : {16, 18, 50, 100, 126, 508, 512}) {
    const CodeSpec spec = make_spec({CodeKind::trellis, 2, 0}, head_dim);
    for (int rows : {3, 70}) expect_close({spec, spec, 90, rows, 1, Visibility::causal, true}, random);
  }
}

// Scores up to 10^4: one token takes all the weight, and nothing overflows.
TEST(AttendRuns, LargeScoresStayFinite) {
  std::mt19937 random(16);
  const CodeSpec spec = make_spec({CodeKind::f32, 32, 0}, 64);
  const RandomCache cache(spec, spec, 300, true, random);
  for (int rows : {4, 33}) {
    const RandomQueries queries(rows, 64, 300, Visibility::causal, 1, random);
    AttendQuery query = queries.query();
    query.scale = 300.0f;
    on_every_cpu_level([&](const std::string& level) {
      PartialBuffers got(rows, 64);
      AttendScratch scratch;
      attend_runs(tile_decoder(spec), tile_decoder(spec), cache.runs(), query, got.partial(), scratch);
      for (float sum : got.sum) EXPECT_TRUE(sum >= 1.0f && sum <= 300.0f) << level << " " << sum;
      for (float value : got.out) EXPECT_TRUE(std::isfinite(value)) << level;
      EXPECT_GT(*std::max_element(got.max.begin(), got.max.end()), 5000.0f);
    });
  }
}

TEST(AttendRuns, NoRunsAtAll) {
  std::mt19937 random(17);
  const CodeSpec spec = make_spec({CodeKind::f16, 16, 0}, 64);
  for (int rows : {1, 20}) {
    const RandomQueries queries(rows, 64, 10, Visibility::all, 1, random);
    PartialBuffers got(rows, 64);
    AttendScratch scratch;
    attend_runs(tile_decoder(spec), tile_decoder(spec), std::span<const TokenRun>(), queries.query(),
                got.partial(), scratch);
    EXPECT_EQ(got.sum, std::vector<float>(static_cast<std::size_t>(rows), 0.0f));
    EXPECT_EQ(got.out, std::vector<float>(static_cast<std::size_t>(rows * 64), 0.0f));
  }
}

// Results do not depend on what an earlier, larger call left in the scratch memory.
TEST(AttendRuns, ScratchCarriesNothingOver) {
  std::mt19937 random(18);
  const CodeSpec spec = make_spec({CodeKind::affine, 4, 32}, 128);
  const RandomCache cache(spec, spec, 77, true, random);
  AttendScratch used;
  float* poison = used.reserve(1 << 18);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(poison) % 64, 0u);
  EXPECT_GE(used.nbytes(), std::size_t{4} << 18);
  std::fill(poison, poison + (1 << 18), std::numeric_limits<float>::quiet_NaN());
  for (int rows : {3, 4, 21}) {
    const RandomQueries queries(rows, 128, 77, Visibility::causal, 1, random);
    PartialBuffers first(rows, 128), second(rows, 128);
    AttendScratch fresh;
    attend_runs(tile_decoder(spec), tile_decoder(spec), cache.runs(), queries.query(), first.partial(),
                fresh);
    attend_runs(tile_decoder(spec), tile_decoder(spec), cache.runs(), queries.query(), second.partial(),
                used);
    EXPECT_EQ(first.out, second.out);
    EXPECT_EQ(first.sum, second.sum);
  }
}

// A method that has no CodeSpec: its rows come from decode_rows(). This one hides a scalar code and its
// scale.
class OpaqueQuantizer final : public VectorQuantizer {
 public:
  explicit OpaqueQuantizer(CodeSpec spec) : spec_(std::move(spec)) {}
  int head_dim() const noexcept override { return spec_.head_dim; }
  std::size_t code_bytes(int /*head*/) const noexcept override { return spec_.code_bytes(); }
  std::size_t scale_bytes(int /*head*/) const noexcept override { return spec_.scale_bytes(); }
  std::size_t method_bytes() const noexcept override { return 0; }
  void encode_rows(const float*, std::size_t, int, std::uint8_t*, std::uint8_t*) const override {}
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                   float* rows) const override {
    EXPECT_EQ(head, 3);
    for (std::size_t t = 0; t < count; ++t) {
      decode_row(spec_, codes + t * spec_.code_bytes(), scales + t * spec_.scale_bytes(),
                 rows + t * static_cast<std::size_t>(head_dim()));
    }
  }

 private:
  CodeSpec spec_;
};

TEST(AttendRuns, QuantizersWithoutACodeSpec) {
  std::mt19937 random(19);
  const CodeSpec spec = make_spec({CodeKind::scalar, 5, 0}, 80);
  const OpaqueQuantizer quantizer(spec);
  const RandomCache cache(spec, spec, 100, true, random);
  for (int rows : {4, 12}) {
    const RandomQueries queries(rows, 80, 100, Visibility::window, 1, random);
    std::vector<double> reference(queries.values.size());
    attend_reference(spec, spec, cache.runs(), queries.query(), reference.data());
    PartialBuffers got(rows, 80);
    AttendScratch scratch;
    const TileDecoder decoder = tile_decoder(quantizer, 3);
    attend_runs(decoder, decoder, cache.runs(), queries.query(), got.partial(), scratch);
    EXPECT_LE(worst_error(got, reference, queries.query()), 1e-5);
  }
}

}  // namespace
}  // namespace veloxquant::test
