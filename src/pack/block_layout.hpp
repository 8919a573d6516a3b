// BlockLayout: the bytes of one block, 64 tokens of one (batch row, KV head). A page of the cache is the blocks of all
// KV heads for the same 64 tokens, one after the other.
//
//     offset                 bytes            content
//     0                      64 x kc          codes of the keys      token 0 | token 1 | ... | token 63
//     64 kc                  64 x ks          scales of the keys     token 0 | token 1 | ... | token 63
//     64 (kc + ks)           64 x vc          codes of the values    token 0 | token 1 | ... | token 63
//     64 (kc + ks + vc)      64 x vs          scales of the values   token 0 | token 1 | ... | token 63
//     64 (kc + ks + vc + vs)                  end
//
// kc, ks, vc and vs are the bytes that the codes and the scales of one key and of one value take. While a page
// fills, the vectors of a section stand in token order, each in canonical order (CodeSpec draws the bytes), without
// gaps, as drawn; once all 64 tokens are there, the sections hold the same bits in block order (block_order.hpp).
// A page begins at a multiple of 64 bytes; as 64 tokens of any whole number of bytes are a multiple of 64
// too, so does every block and every section.
//
//     turboquant_mse, 4 bits, 128 dims:  kc = vc = 64, ks = vs = 2;  block = 64 x (64 + 2 + 64 + 2) = 8,448
//     bytes
//
//     0               4096  4224            8320  8448
//     |    K codes    |K sc.|    V codes    |V sc.|
#pragma once

#include <cstddef>
#include <cstdint>

namespace veloxquant {

inline constexpr int kPageTokens = 64;
inline constexpr std::size_t kPageAlignment = 64;

// Bytes that the codes and the scales of one vector take.
struct VectorBytes {
  std::size_t codes = 0, scales = 0;
};

class BlockLayout {
 public:
  BlockLayout(VectorBytes keys, VectorBytes values) noexcept : keys_(keys), values_(values) {}

  // Bytes of a block: 64 (kc + ks + vc + vs).
  std::size_t bytes() const noexcept { return kPageTokens * token_bytes(); }
  // Bytes that one token takes in it.
  std::size_t token_bytes() const noexcept {
    return keys_.codes + keys_.scales + values_.codes + values_.scales;
  }
  VectorBytes keys() const noexcept { return keys_; }
  VectorBytes values() const noexcept { return values_; }

  // Offsets from the block's begin to what token `slot` (0..63) has in each section.
  std::size_t key_codes(std::size_t slot) const noexcept { return slot * keys_.codes; }
  std::size_t key_scales(std::size_t slot) const noexcept {
    return kPageTokens * keys_.codes + slot * keys_.scales;
  }
  std::size_t value_codes(std::size_t slot) const noexcept {
    return kPageTokens * (keys_.codes + keys_.scales) + slot * values_.codes;
  }
  std::size_t value_scales(std::size_t slot) const noexcept {
    return kPageTokens * (keys_.codes + keys_.scales + values_.codes) + slot * values_.scales;
  }

 private:
  VectorBytes keys_, values_;
};

// Pages that hold `tokens` tokens.
constexpr std::int64_t pages_for(std::int64_t tokens) noexcept {
  return (tokens + kPageTokens - 1) / kPageTokens;
}

}  // namespace veloxquant
