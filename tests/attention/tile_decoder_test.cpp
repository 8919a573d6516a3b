// Every tile decoder against decode_row(), the definition, on every CPU level.
#include <gtest/gtest.h>

#include <veloxquant/core/error.hpp>

#include "attention/attend.hpp"
#include "attention/random_cache.hpp"
#include "codebook/row_code.hpp"

namespace veloxquant::test {
namespace {

constexpr int kHeadDims[] = {16, 20, 50, 64, 80, 96, 112, 128, 192, 256, 512};

float vector_scale(const CodeSpec& spec, const std::uint8_t* scales) {
  f16 scale;
  if (!spec.has_vector_scale()) return 1.0f;
  std::memcpy(&scale, scales, sizeof(scale));
  return to_f32(scale);
}

// Only affine codes may differ in rounding: s * u + z with or without a fused multiply-add. The values of
// these tests are of magnitude 1 to 3 before they cancel.
void expect_tile(const CodeSpec& spec, int count, std::mt19937& random) {
  const auto codes = random_codes(spec, count, random), scales = random_scales(spec, count, random);
  const auto dims = static_cast<std::size_t>(spec.head_dim), rows = static_cast<std::size_t>(count);
  const TileDecoder decoder = tile_decoder(spec);
  EXPECT_EQ(decoder.vector_scale, spec.has_vector_scale());
  std::vector<float> tile(rows * dims), row(dims);
  decoder.decode(decoder, codes.data(), scales.data(), count, tile.data());
  const float tolerance = spec.kind == CodeKind::affine ? 5e-7f : 0.0f;
  for (std::size_t t = 0; t < rows; ++t) {
    const std::uint8_t* row_scales = scales.data() + t * spec.scale_bytes();
    decode_row(spec, codes.data() + t * spec.code_bytes(), row_scales, row.data());
    const float factor = vector_scale(spec, row_scales);
    for (std::size_t c = 0; c < dims; ++c) {
      ASSERT_NEAR(factor * tile[t * dims + c], row[c], tolerance)
          << "token " << t << " of " << count << ", dim " << c;
    }
  }
}

TEST(TileDecoder, EqualsTheDefinition) {
  on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(7);
    for (const CodeChoice& code : all_codes()) {
      for (int head_dim : kHeadDims) {
        if (!exists(code, head_dim)) continue;
        for (int count : {1, 2, 16, 64}) {
          const CodeSpec spec = make_spec(code, head_dim);
          SCOPED_TRACE(level + ", " + spec.name() + ", head_dim " + std::to_string(head_dim));
          expect_tile(spec, count, random);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  });
}

// Gains are in the rows.
TEST(TileDecoder, ReadsMixedCodes) {
  const std::vector<RunPlan> runs = {{CodeKind::scalar, 6, 8},
                                     {CodeKind::trellis, 4, 24},
                                     {CodeKind::scalar, 3, 15},
                                     {CodeKind::trellis, 1, 8}};
  on_every_cpu_level([&](const std::string& level) {
    std::mt19937 random(9);
    for (const bool gain : {false, true}) {
      const CodeSpec spec = make_mixed_code(runs, gain)->spec();
      const TileDecoder decoder = tile_decoder(spec);
      EXPECT_FALSE(decoder.vector_scale);
      const auto dims = static_cast<std::size_t>(spec.head_dim), bytes = spec.code_bytes();
      for (const std::size_t count : {1, 5, 64}) {
        std::vector<std::uint8_t> codes(count * bytes), scales(count * spec.scale_bytes() + 1);
        for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random());
        for (std::uint8_t& scale : scales) scale = static_cast<std::uint8_t>(random());
        std::vector<float> tile(count * dims), row(dims);
        decoder.decode(decoder, codes.data(), scales.data(), static_cast<int>(count), tile.data());
        for (std::size_t t = 0; t < count; ++t) {
          decode_row(spec, codes.data() + t * bytes, scales.data() + t * spec.scale_bytes(), row.data());
          for (std::size_t c = 0; c < dims; ++c)
            ASSERT_EQ(tile[t * dims + c], row[c]) << level << " " << t << " " << c;
        }
      }
    }
  });
}

TEST(TileDecoder, TakesTablesThatAreNoMultiplesOfTheTrainedStep) {
  on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(8);
    for (int bits = 1; bits <= 4; ++bits) {
      SCOPED_TRACE(level + ", bits " + std::to_string(bits));
      expect_tile(make_spec({CodeKind::trellis, bits, 0}, 128, true), 5, random);
      expect_tile(make_spec({CodeKind::scalar, bits, 0}, 128, true), 5, random);
    }
  });
}

TEST(TileDecoder, ReadsEveryHalfAndByteValue) {
  on_every_cpu_level([](const std::string& level) {
    for (const CodeChoice& code : {CodeChoice{CodeKind::f16, 16, 0}, CodeChoice{CodeKind::bf16, 16, 0},
                                   CodeChoice{CodeKind::fp8_e4m3, 8, 0}}) {
      const CodeSpec spec = make_spec(code, 256);
      const TileDecoder decoder = tile_decoder(spec);
      const int values = 1 << code.bits, step = 256 * 64;
      std::vector<float> tile(step), row(256);
      for (int first = 0; first < values; first += step) {
        const int here = std::min(step, values - first);
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(here * code.bits / 8));
        for (int i = 0; i < here; ++i) {
          const int value = first + i;
          std::memcpy(codes.data() + i * code.bits / 8, &value, static_cast<std::size_t>(code.bits / 8));
        }
        decoder.decode(decoder, codes.data(), nullptr, here / 256, tile.data());
        for (int t = 0; t < here / 256; ++t) {
          decode_row(spec, codes.data() + static_cast<std::size_t>(t) * spec.code_bytes(), nullptr,
                     row.data());
          for (int c = 0; c < 256; ++c) {
            const float expected = row[static_cast<std::size_t>(c)];
            // No code holds an infinite half; the lowest levels read one as 65536.
            if (!std::isfinite(expected)) continue;
            ASSERT_EQ(tile[static_cast<std::size_t>(t * 256 + c)], expected)
                << level << ", " << spec.name() << ", code " << first + t * 256 + c;
          }
        }
      }
    }
  });
}

TEST(TileDecoder, RefusesSpecsThatMakeNoSense) {
  EXPECT_THROW(tile_decoder(make_spec({CodeKind::affine, 7, 32}, 128)), ConfigError);
  EXPECT_THROW(tile_decoder(make_spec({CodeKind::affine, 4, 48}, 128)), ConfigError);
  EXPECT_THROW(tile_decoder(make_spec({CodeKind::affine, 4, 0}, 128)), ConfigError);
  EXPECT_THROW(tile_decoder(make_spec({CodeKind::trellis, 5, 0}, 128)), ConfigError);
  EXPECT_THROW(tile_decoder(make_spec({CodeKind::f16, 16, 0}, 1024)), ConfigError);
  EXPECT_THROW(tile_decoder(make_spec({CodeKind::f16, 16, 0}, 0)), ConfigError);
  CodeSpec spec = make_spec({CodeKind::scalar, 4, 0}, 128);
  spec.table = std::make_shared<std::vector<float>>(15);
  EXPECT_THROW(tile_decoder(spec), ConfigError);
  spec.table = nullptr;
  EXPECT_THROW(tile_decoder(spec), ConfigError);

  const std::vector<RunPlan> plan = {{CodeKind::trellis, 2, 16}, {CodeKind::trellis, 1, 16}};
  const CodeSpec mixed = make_mixed_code(plan, false)->spec();
  EXPECT_NO_THROW(tile_decoder(mixed));
  EXPECT_THROW(tile_decoder(mixed.of_run(0)), ConfigError);  // a run is no code of its own
  const auto refused = [&mixed](const auto& change) {
    CodeSpec changed = mixed;
    change(changed);
    EXPECT_THROW(tile_decoder(changed), ConfigError);
  };
  refused([](CodeSpec& changed) { changed.head_dim = 24; });
  refused([](CodeSpec& changed) { changed.runs[0].count = 18, changed.runs[1].count = 14; });
  refused([](CodeSpec& changed) { changed.runs[0].kind = CodeKind::f16, changed.runs[0].bits = 16; });
  refused([](CodeSpec& changed) { changed.runs[1].kind = CodeKind::mixed, changed.runs[1].bits = 0; });
}

}  // namespace
}  // namespace veloxquant::test
