// Registers of NEON with dot products (Armv8.2) for the kernels that are written once for several levels
// (scalar_bytes.hpp). Only for files compiled for that level.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "attention/kernel_inline.hpp"

namespace veloxquant {

// sdot and udot multiply bytes of one kind and add four neighbours to 32 bits (ProductSums::of_four): tables
// of keys stay signed as queries are, tables of values become unsigned as weights are. See lanes_avx2.hpp for
// the members.
struct NeonDot {
  using Bytes = uint8x16_t;
  using Sums = int32x4_t;
  static constexpr int kBytes = 16;
  static constexpr int kSums = 16;
  static constexpr int kKeyBias = 0, kValueBias = 128;

  static VELOXQUANT_INLINE Bytes load(const void* bytes) {
    return vld1q_u8(static_cast<const std::uint8_t*>(bytes));
  }
  static VELOXQUANT_INLINE Bytes load_unaligned(const void* bytes) { return load(bytes); }
  // Bytes 56 to 63 of a line, then its first 8.
  static VELOXQUANT_INLINE Bytes load_around(const std::uint8_t* line) {
    return vextq_u8(load(line + 48), load(line), 8);
  }
  static VELOXQUANT_INLINE Bytes broadcast4(const void* bytes) {
    std::uint32_t four;
    __builtin_memcpy(&four, bytes, 4);
    return vreinterpretq_u8_u32(vdupq_n_u32(four));
  }
  static VELOXQUANT_INLINE Bytes fill(int byte) { return vdupq_n_u8(static_cast<std::uint8_t>(byte)); }
  static VELOXQUANT_INLINE Bytes both(Bytes a, Bytes b) { return vandq_u8(a, b); }
  static VELOXQUANT_INLINE Bytes either(Bytes a, Bytes b) { return vorrq_u8(a, b); }
  template <int Shift>
  static VELOXQUANT_INLINE Bytes shifted(Bytes x) {
    if constexpr (Shift > 0) return vshrq_n_u8(x, Shift);
    if constexpr (Shift < 0) return vshlq_n_u8(x, -Shift);
    return x;
  }

  template <int Shift>
  static VELOXQUANT_INLINE Bytes shifted_words(Bytes x) {
    const uint32x4_t words = vreinterpretq_u32_u8(x);
    if constexpr (Shift > 0) return vreinterpretq_u8_u32(vshrq_n_u32(words, Shift));
    if constexpr (Shift < 0) return vreinterpretq_u8_u32(vshlq_n_u32(words, -Shift));
    return x;
  }
  template <int Shift>
  static VELOXQUANT_INLINE Bytes shifted_halves(Bytes x) {
    const uint16x8_t halves = vreinterpretq_u16_u8(x);
    if constexpr (Shift > 0) return vreinterpretq_u8_u16(vshrq_n_u16(halves, Shift));
    if constexpr (Shift < 0) return vreinterpretq_u8_u16(vshlq_n_u16(halves, -Shift));
    return x;
  }
  static VELOXQUANT_INLINE Bytes odd_bytes_from(Bytes even, Bytes odd) {
    return vbslq_u8(vreinterpretq_u8_u16(vdupq_n_u16(255)), even, odd);
  }
  static VELOXQUANT_INLINE Bytes odd_halves_from(Bytes even, Bytes odd) {
    return vbslq_u8(vreinterpretq_u8_u32(vdupq_n_u32(65535)), even, odd);
  }
  static VELOXQUANT_INLINE Bytes low_bytes(Bytes a, Bytes b) { return vuzp1q_u8(a, b); }

  static VELOXQUANT_INLINE Bytes table(const std::int8_t* entries, int bias) {
    return vaddq_u8(vreinterpretq_u8_s8(vld1q_s8(entries)), fill(bias));
  }
  static VELOXQUANT_INLINE Bytes look_up(Bytes table, Bytes indices) { return vqtbl1q_u8(table, indices); }

  static VELOXQUANT_INLINE Sums fill_sums(std::int32_t sum) { return vdupq_n_s32(sum); }
  static VELOXQUANT_INLINE Sums add_key_products(Sums sums, Bytes table_bytes, Bytes query) {
    return vdotq_s32(sums, vreinterpretq_s8_u8(table_bytes), vreinterpretq_s8_u8(query));
  }
  static VELOXQUANT_INLINE Sums add_value_products(Sums sums, Bytes table_bytes, Bytes weights) {
    return vreinterpretq_s32_u32(vdotq_u32(vreinterpretq_u32_s32(sums), table_bytes, weights));
  }
  static VELOXQUANT_INLINE void store(float* to, Sums sums, float step) {
    vst1q_f32(to, vmulq_n_f32(vcvtq_f32_s32(sums), step));
  }
  static VELOXQUANT_INLINE void add(float* to, Sums sums, float step) {
    vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), vcvtq_f32_s32(sums), step));
  }

  static VELOXQUANT_INLINE void prefetch(const std::uint8_t* begin, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(begin + i, 0, 2);
  }
};

}  // namespace veloxquant
