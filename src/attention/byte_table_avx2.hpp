// Tables of up to 128 bytes in AVX2 registers. Only for files compiled for that level.
//
// vpshufb gives 0 where the top bit of an index is set, and looks at the low four bits of the others, so with
// 16 entries T_k of the table at a time
//
//     T[x] = T_0[x] ^ D_1[x - 16] ^ D_2[x - 32] ^ .. ^ D_7[x - 112],   D_k = T_k ^ T_(k-1),
//
// where the terms of k > x / 16 vanish and the others leave T_(x / 16).
#pragma once

#include <cstdint>

#include "attention/kernel_inline.hpp"
#include "attention/lanes_avx2.hpp"

namespace veloxquant {

template <int Entries>
class ByteTable {
 public:
  explicit ByteTable(const std::uint8_t* entries) {
    __m128i before = _mm_setzero_si128();
    for (int k = 0; k < kParts; ++k) {
      const __m128i part = _mm_load_si128(reinterpret_cast<const __m128i*>(entries + 16 * k));
      changes_[k] = _mm256_broadcastsi128_si256(_mm_xor_si128(part, before));
      before = part;
    }
  }

  // Of indices below `Entries`.
  VELOXQUANT_INLINE __m256i operator()(__m256i at) const {
    __m256i found = _mm256_shuffle_epi8(changes_[0], at);
    for (int k = 1; k < kParts; ++k) {
      at = _mm256_sub_epi8(at, Avx2::fill(16));
      found = _mm256_xor_si256(found, _mm256_shuffle_epi8(changes_[k], at));
    }
    return found;
  }

 private:
  static constexpr int kParts = Entries / 16;
  __m256i changes_[kParts];
};

}  // namespace veloxquant
