#include "attention/trellis_vbmi.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

// g++ 12 takes the deliberately undefined registers inside its own intrinsics for mistakes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define VELOXQUANT_VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")))
#define VELOXQUANT_VBMI_INLINE VELOXQUANT_VBMI inline __attribute__((always_inline))

namespace veloxquant {
namespace {

constexpr int kStep = 64;  // windows at a time

// Where the windows of 64 elements lie in the bytes of a step, arranged so that widening bytes to 32 bits in
// place (two rounds of in-lane unpacking) leaves four vectors of elements in order: byte 16 b + 4 m + i of
// the register belongs to element 16 m + 4 b + i. Four such neighbours span at most 20 bits, so each half of
// a 64-bit word can hold the bytes of its own four, and the multishift finds each window in that word.
template <int Bits>
struct WindowPlaces {
  alignas(64) std::uint8_t bytes[kStep];
  alignas(64) std::uint8_t shifts[kStep];

  constexpr WindowPlaces() : bytes(), shifts() {
    for (int b = 0; b < 4; ++b) {
      for (int m = 0; m < 4; ++m) {
        const int first_bit = (16 * m + 4 * b) * Bits;
        for (int i = 0; i < 4; ++i) {
          bytes[16 * b + 4 * m + i] = static_cast<std::uint8_t>(first_bit / 8 + i);
          shifts[16 * b + 4 * m + i] = static_cast<std::uint8_t>(m % 2 * 32 + first_bit % 8 + i * Bits);
        }
      }
    }
  }
};

template <int Bits>
constexpr WindowPlaces<Bits> kWindowPlaces{};

// The table as 16-bit integers of 1/4096, low and high bytes apart, 64 entries a register.
struct ByteTable {
  __m512i low[4], high[4];
};

VELOXQUANT_VBMI_INLINE ByteTable load_table(const float* values) {
  ByteTable table;
  alignas(64) std::uint8_t low[256], high[256];
  for (int i = 0; i < 256; i += 16) {
    const __m512i entries =
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values + i), _mm512_set1_ps(4096.0f)));
    _mm_store_si128(reinterpret_cast<__m128i*>(low + i), _mm512_cvtepi32_epi8(entries));
    _mm_store_si128(reinterpret_cast<__m128i*>(high + i),
                    _mm512_cvtepi32_epi8(_mm512_srai_epi32(entries, 8)));
  }
  for (int i = 0; i < 4; ++i) {
    table.low[i] = _mm512_load_si512(low + 64 * i);
    table.high[i] = _mm512_load_si512(high + 64 * i);
  }
  return table;
}

VELOXQUANT_VBMI_INLINE __m512i look_up(const __m512i (&bytes)[4], __m512i index) {
  const __m512i lower = _mm512_permutex2var_epi8(bytes[0], index, bytes[1]);
  const __m512i upper = _mm512_permutex2var_epi8(bytes[2], index, bytes[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), lower, upper);
}

// 16-bit integers in the upper halves of 32-bit lanes -> floats, of `count` elements those from `first` on.
VELOXQUANT_VBMI_INLINE void store_values(__m512i upper_halves, int first, int count, float* to) {
  const __m512 values = _mm512_mul_ps(_mm512_cvtepi32_ps(upper_halves), _mm512_set1_ps(0x1p-28f));
  if (count >= first + 16) return _mm512_storeu_ps(to + first, values);
  if (count > first)
    _mm512_mask_storeu_ps(to + first, static_cast<__mmask16>((1u << (count - first)) - 1u), values);
}

// Elements [first, first + 64) of a row, or as many as there are; `behind` is the byte that follows its last.
template <int Bits>
VELOXQUANT_VBMI_INLINE void decode_step(const ByteTable& table, const std::uint8_t* row, std::uint8_t behind,
                                        int first, int head_dim, float* to) {
  const int left = head_dim - first, count = left < kStep ? left : kStep;
  const int bytes = count * Bits / 8, offset = first / 8 * Bits;
  const __mmask64 inside = (__mmask64{1} << bytes) - 1, next = __mmask64{1} << bytes;
  __m512i stream;
  if (left > kStep) {
    stream = _mm512_maskz_loadu_epi8(inside | next, row + offset);
  } else {
    stream = _mm512_maskz_loadu_epi8(inside, row + offset);
    stream = _mm512_mask_set1_epi8(stream, next, static_cast<char>(behind));
  }
  const __m512i places = _mm512_load_si512(kWindowPlaces<Bits>.bytes);
  const __m512i shifts = _mm512_load_si512(kWindowPlaces<Bits>.shifts);
  const __m512i windows = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(places, stream));
  const __m512i low = look_up(table.low, windows), high = look_up(table.high, windows);
  const __m512i even = _mm512_unpacklo_epi8(low, high), odd = _mm512_unpackhi_epi8(low, high);
  const __m512i zero = _mm512_setzero_si512();
  store_values(_mm512_unpacklo_epi16(zero, even), 0, count, to);
  store_values(_mm512_unpackhi_epi16(zero, even), 16, count, to);
  store_values(_mm512_unpacklo_epi16(zero, odd), 32, count, to);
  store_values(_mm512_unpackhi_epi16(zero, odd), 48, count, to);
}

template <int Bits>
VELOXQUANT_VBMI void decode(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t*,
                            int count, float* tile) {
  const int head_dim = self.spec.head_dim;
  const std::size_t row_bytes = tile_row_bytes(self.spec), behind = self.spec.is_part() ? row_bytes - 1 : 0;
  const ByteTable table = load_table(self.spec.table->data());
  for (int t = 0; t < count; ++t, codes += row_bytes, tile += head_dim) {
    for (int c = 0; c < head_dim; c += kStep)
      decode_step<Bits>(table, codes, codes[behind], c, head_dim, tile + c);
  }
}

bool fits_integers(const float* values) {
  for (int i = 0; i < 256; ++i) {
    const float scaled = values[i] * 4096.0f;
    if (!(scaled >= -32768.0f && scaled <= 32767.0f) ||
        static_cast<float>(static_cast<int>(scaled)) != scaled) {
      return false;
    }
  }
  return true;
}

}  // namespace

TileDecoder::Function find_trellis_vbmi(const CodeSpec& spec) {
  const bool has_instructions = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi");
  if (!has_instructions || spec.head_dim * spec.bits % 8 != 0 || !fits_integers(spec.table->data()))
    return nullptr;
  constexpr TileDecoder::Function by_bits[] = {decode<1>, decode<2>, decode<3>, decode<4>};
  return by_bits[spec.bits - 1];
}

}  // namespace veloxquant
#else

namespace veloxquant {

TileDecoder::Function find_trellis_vbmi(const CodeSpec&) { return nullptr; }

}  // namespace veloxquant
#endif
