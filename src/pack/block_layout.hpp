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
// Where the scales of keys and of values are gains (four bits each), a token's two gains share the byte of its key,
// in both orders, and there is no section of the values' scales:
//
//     byte of a token          bits 0..3  gain of the key          bits 4..7  gain of the value
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

// Bytes that the codes and the scales of one vector take as a canonical row.
struct VectorBytes {
  std::size_t codes = 0, scales = 0;
  bool gain = false;  // the scale is one gain: a byte of which four bits are used
};

class BlockLayout {
 public:
  BlockLayout(VectorBytes keys, VectorBytes values) noexcept : keys_(keys), values_(values) {}

  // Bytes of a block: 64 (kc + ks + vc + vs), or 64 (kc + 1 + vc) where gains share a byte.
  std::size_t bytes() const noexcept { return kPageTokens * token_bytes(); }
  // Bytes that one token takes in it.
  std::size_t token_bytes() const noexcept {
    return keys_.codes + keys_.scales + values_.codes + (shares_gains() ? 0 : values_.scales);
  }
  // Whether key_scales() holds the gains of the values too.
  bool shares_gains() const noexcept { return keys_.gain && values_.gain; }
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
    if (shares_gains()) return key_scales(slot);
    return kPageTokens * (keys_.codes + keys_.scales + values_.codes) + slot * values_.scales;
  }

 private:
  VectorBytes keys_, values_;
};

// The gains of one token in the byte that they share.
constexpr std::uint8_t shared_gains(std::uint8_t key, std::uint8_t value) noexcept {
  return static_cast<std::uint8_t>(key | value << 4);
}
constexpr std::uint8_t key_gain(std::uint8_t shared) noexcept { return shared & 15; }
constexpr std::uint8_t value_gain(std::uint8_t shared) noexcept { return shared >> 4; }

// Pages that hold `tokens` tokens.
constexpr std::int64_t pages_for(std::int64_t tokens) noexcept {
  return (tokens + kPageTokens - 1) / kPageTokens;
}

}  // namespace veloxquant
