// Values in trellis codes whose strings stand by token quads (pack/word_order.hpp): runs of mixed codes,
// whose bits are no whole lines. AVX-512 with VBMI, VBMI2, VNNI and GFNI.
//
// 16 dimensions of a token quad are twice as many bytes of each token as a code has bits, and the byte behind
// them. A 64-bit lane takes the bytes with the windows of two dimensions of all four tokens, wherever in a
// string they are; a multishift takes the windows out of them. From there on it is as in the other kernel:
// look-up, dot products of four tokens. A string may end with 8 dimensions, whose lanes alone count.
#include "attention/trellis_blocks.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__GFNI__)
#include <immintrin.h>

#include "attention/trellis_avx512.hpp"

namespace veloxquant {
namespace {

constexpr int kUnit = 16;  // dimensions

struct alignas(64) Places {
  std::uint8_t bytes[64];   // the places of the lane's first two bytes of each token in the unit
  std::uint8_t behind[64];  // of the byte behind those, twice
  std::uint16_t skip[32];   // bits of the first byte before the lane's windows, by token
  std::uint8_t shifts[64];  // of the windows in the lane, `skip` counted in where it stays below a byte
};

// Windows of 3 bits may begin so late that two of them leave the two bytes: there both are shifted first.
constexpr bool shifts_first(int bits) { return bits == 3; }

constexpr Places places_of(int bits) {
  Places places{};
  for (int lane = 0; lane < 8; ++lane) {
    const int start = 2 * lane * bits, byte = start / 8, within = start % 8;
    for (int token = 0; token < 4; ++token) {
      const auto place = [token](int b) { return static_cast<std::uint8_t>(4 * b + token); };
      for (int e = 0; e < 2; ++e) {
        places.bytes[8 * lane + 2 * token + e] = place(byte + e);
        places.behind[8 * lane + 2 * token + e] = place(byte + 2);
        const int first = 16 * token + (shifts_first(bits) ? 0 : within);
        places.shifts[8 * lane + 4 * e + token] = static_cast<std::uint8_t>(first + e * bits);
      }
      places.skip[4 * lane + token] = static_cast<std::uint16_t>(within);
    }
  }
  return places;
}
template <int Bits>
constexpr Places kPlaces = places_of(Bits);

// The windows of 16 dimensions of a token quad from the bytes at `own` on, `Bits` 64-bit words or (`half`) as
// many 32-bit ones; `next` are the bytes behind them.
template <int Bits>
inline __attribute__((always_inline)) __m512i unit_windows(const std::uint8_t* own, bool half,
                                                           const std::uint8_t* next) {
  const int words = half ? Bits : 2 * Bits;
  std::int32_t behind;
  __builtin_memcpy(&behind, next, 4);
  const __m512i bytes =
      _mm512_mask_set1_epi32(_mm512_maskz_loadu_epi32(static_cast<__mmask16>((1 << words) - 1), own),
                             static_cast<__mmask16>(1 << words), behind);
  __m512i lanes = _mm512_permutexvar_epi8(load(kPlaces<Bits>.bytes), bytes);
  if constexpr (shifts_first(Bits)) {
    const __m512i later = _mm512_permutexvar_epi8(load(kPlaces<Bits>.behind), bytes);
    lanes = _mm512_shrdv_epi16(lanes, later, load(kPlaces<Bits>.skip));
  }
  return _mm512_multishift_epi64_epi8(load(kPlaces<Bits>.shifts), lanes);
}

// Units [first, first + Units) of a block: all token quads.
template <int Bits, int Rows, int Units>
inline __attribute__((always_inline)) void add_units(const ValueKernel& self, const BlockWeights& weights,
                                                     const HalfSums& halves, int rows,
                                                     const std::uint8_t* block, const std::uint8_t* ahead,
                                                     int first, float* sums) {
  constexpr bool kWide = trellis_is_wide(Bits);
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const LookUp look_up(table, 0x80);
  const int units = (self.spec.head_dim + kUnit - 1) / kUnit;
  const bool ends_with_half = self.spec.head_dim % kUnit != 0;
  const std::size_t quad_bytes = 4 * self.spec.code_bytes(), unit_bytes = 8 * Bits;
  __m512i part[Rows][Units], low_part[Rows][Units];
  for (int r = 0; r < Rows; ++r) {
    for (int u = 0; u < Units; ++u) part[r][u] = low_part[r][u] = _mm512_setzero_si512();
  }
  for (std::size_t q = 0; q < kBlockTokens / 4; ++q) {
    const std::uint8_t* quad = block + quad_bytes * q;
    const std::uint8_t* behind = block + table.behind + 4 * table.behind_bytes * q;
    if (first == 0 && ahead != nullptr) prefetch(ahead + quad_bytes * q, quad_bytes);
    __m512i weight[Rows], weight_low[Rows];
    for (std::size_t r = 0; r < Rows; ++r) {
      weight[r] = broadcast4(weights.u8 + kBlockTokens * r + 4 * q);
      if constexpr (kWide) weight_low[r] = broadcast4(weights.low + kBlockTokens * r + 4 * q);
    }
    for (int u = 0; u < Units; ++u) {
      const std::uint8_t* own = quad + unit_bytes * static_cast<std::size_t>(first + u);
      const bool last = first + u + 1 == units;
      const __m512i values =
          look_up(unit_windows<Bits>(own, last && ends_with_half, last ? behind : own + unit_bytes));
      for (int r = 0; r < Rows; ++r) {
        part[r][u] = _mm512_dpbusd_epi32(part[r][u], weight[r], values);
        if constexpr (kWide) low_part[r][u] = _mm512_dpbusd_epi32(low_part[r][u], weight_low[r], values);
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    const __m512 step = _mm512_set1_ps(weights.step[r] * table.step), half = _mm512_set1_ps(halves.rows[r]);
    for (int u = 0; u < Units; ++u) {
      __m512 total = _mm512_cvtepi32_ps(part[r][u]);
      if constexpr (kWide)
        total = _mm512_fmadd_ps(total, _mm512_set1_ps(256), _mm512_cvtepi32_ps(low_part[r][u]));
      float* to = sums + static_cast<std::size_t>(r) * sum_stride(self) + kUnit * (first + u);
      const __mmask16 lanes = first + u + 1 == units && ends_with_half ? 0xff : 0xffff;
      const __m512 sum = _mm512_fmadd_ps(_mm512_add_ps(total, half), step, _mm512_maskz_loadu_ps(lanes, to));
      _mm512_mask_storeu_ps(to, lanes, sum);
    }
  }
}

template <int Bits, int Rows>
void add_rows(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
              const std::uint8_t* ahead, float* sums) {
  constexpr bool kWide = trellis_is_wide(Bits);
  constexpr int kUnits = (Rows == 8 ? 2 : 4) / (kWide ? 2 : 1);
  const HalfSums halves = half_sums(weights, rows, kWide);
  const int units = (self.spec.head_dim + kUnit - 1) / kUnit;
  int unit = 0;
  const auto step = [&]<int Units>() __attribute__((always_inline)) {
    add_units<Bits, Rows, Units>(self, weights, halves, rows, block, ahead, unit, sums);
    unit += Units;
  };
  while (unit + kUnits <= units) step.template operator()<kUnits>();
  if (kUnits > 2 && unit + 2 <= units) step.template operator()<2>();
  if (unit < units) step.template operator()<1>();
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  with_row_width(rows, [&]<int Rows>() { add_rows<Bits, Rows>(self, weights, rows, block, ahead, sums); });
}

}  // namespace

ValueKernel::Add trellis_add_quads_avx512(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  return by_bits[bits - 1];
}

}  // namespace veloxquant
#else
namespace veloxquant {
ValueKernel::Add trellis_add_quads_avx512(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
