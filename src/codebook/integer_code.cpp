// q8_0 and q4_0 as ggml defines them: 32 coordinates share one f16 scale d, the value is d * q.
//
//     q8_0   d = max|x| / 127        q = round(x / d), halves away from zero, in [-127, 127]
//     q4_0   d = m / -8              q = floor(x / d + 8.5) - 8, at most 7; m is the x of largest magnitude
//     with its
//                                    sign, which thereby becomes exactly -8 d
//
// As there, q comes from the inverse of d before d is rounded to f16. A scale that f16 rounds to zero gives q
// = 0.
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "codebook/row_code.hpp"
#include "codebook/row_math.hpp"
#include "pack/bits.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

constexpr int kGroup = 32;

float inverse_of(float d, float stored) { return stored == 0 ? 0.0f : 1.0f / d; }

void encode_q8(const float* x, std::uint8_t* codes, std::uint8_t* scales, int group) {
  const float d = largest_magnitude(x, kGroup) / 127.0f;
  const float inverse = inverse_of(d, store_f16(d, "q8_0 scale", scales, group));
  for (int c = 0; c < kGroup; ++c) {
    const float t = x[c] * inverse;
    const int whole = static_cast<int>(t);
    const float rest = t - static_cast<float>(whole);
    codes[c] = static_cast<std::uint8_t>(whole + (rest >= 0.5f) - (rest <= -0.5f));
  }
}

void encode_q4(const float* x, std::uint8_t* codes, std::uint8_t* scales, int group) {
  const float largest = largest_magnitude(x, kGroup);
  int at = 0;
  while (std::bit_cast<std::uint32_t>(std::fabs(x[at])) != std::bit_cast<std::uint32_t>(largest)) ++at;
  const float d = x[at] / -8.0f;
  const float inverse = inverse_of(d, store_f16(d, "q4_0 scale", scales, group));
  std::uint8_t u[kGroup];
  for (int c = 0; c < kGroup; ++c) {
    const int q = static_cast<int>(x[c] * inverse + 8.5f);
    u[c] = static_cast<std::uint8_t>(q < 15 ? q : 15);
  }
  pack_codes(u, kGroup, 4, codes);
}

class IntegerCode final : public RowCode {
 public:
  IntegerCode(int bits, int head_dim) : RowCode({CodeKind::integer, bits, head_dim, kGroup, nullptr}) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    const auto encode_group = spec_.bits == 8 ? encode_q8 : encode_q4;
    const std::size_t step = packed_bytes(kGroup, spec_.bits);
    for (int g = 0; g < spec_.head_dim / kGroup; ++g)
      encode_group(x + g * kGroup, codes + static_cast<std::size_t>(g) * step, scales, g);
  }
};

}  // namespace

std::unique_ptr<RowCode> make_integer_code(int bits, int head_dim) {
  require_head_dim(head_dim, "integer code");
  if (bits != 4 && bits != 8)
    throw ConfigError("integer code", fmt::format("bits is {}, but q4_0 and q8_0 have 4 and 8", bits));
  if (head_dim % kGroup != 0)
    throw ConfigError(
        "integer code",
        fmt::format("head_dim is {}, but q{}_0 needs a multiple of its group of {}", head_dim, bits, kGroup));
  return std::make_unique<IntegerCode>(bits, head_dim);
}

}  // namespace veloxquant
