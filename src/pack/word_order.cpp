#include "pack/word_order.hpp"

#include <cstring>

namespace veloxquant {
namespace {

// Copies one word of a row to or from a block.
template <std::size_t Bytes, bool ToBlock>
void move_word(std::uint8_t* block, std::size_t place, std::uint8_t* row, std::size_t word) noexcept {
  if constexpr (ToBlock) {
    std::memcpy(block + Bytes * place, row + Bytes * word, Bytes);
  } else {
    std::memcpy(row + Bytes * word, block + Bytes * place, Bytes);
  }
}

// Word g L + l of a string, of kGroups L words, is word number place(l, g, token, L) of a block.
struct KeyWords {
  static constexpr std::size_t kBytes = 4, kGroups = 1;
  static std::size_t place(std::size_t l, std::size_t /*g*/, std::size_t token,
                           std::size_t /*lines*/) noexcept {
    return kBlockTokens * l + token;
  }
};

struct ValueHalves {
  static constexpr std::size_t kBytes = 2, kGroups = 8;
  static std::size_t place(std::size_t l, std::size_t g, std::size_t token, std::size_t /*lines*/) noexcept {
    return 32 * (kBlockTokens / 4 * l + token / 4) + 4 * g + token % 4;
  }
};

// By token quads, for strings that are no whole lines.
struct QuadBytes {
  static constexpr std::size_t kBytes = 1, kGroups = 1;
  static std::size_t place(std::size_t l, std::size_t /*g*/, std::size_t token, std::size_t lines) noexcept {
    return 4 * (lines * (token / 4) + l) + token % 4;
  }
};

template <class Words>
class WordOrder final : public BlockOrder {
 public:
  explicit WordOrder(const CodeSpec& spec) : BlockOrder(spec.code_bytes(), spec.scale_bytes()) {}

  void pack(const std::uint8_t* codes, const std::uint8_t* scales, std::uint8_t* block) const override {
    // One function moves both ways; it does not write where it is told to read.
    move<true>(block, 0, kBlockTokens, const_cast<std::uint8_t*>(codes));
    pack_scales(scales, block);
  }
  void unpack(const std::uint8_t* block, int first, int count, std::uint8_t* codes,
              std::uint8_t* scales) const override {
    move<false>(const_cast<std::uint8_t*>(block), first, count, codes);
    unpack_scales(block, first, count, scales);
  }

 private:
  template <bool ToBlock>
  void move(std::uint8_t* block, int first, int count, std::uint8_t* rows) const noexcept {
    const std::size_t lines = code_bytes() / (Words::kBytes * Words::kGroups);
    const auto begin = static_cast<std::size_t>(first), end = begin + static_cast<std::size_t>(count);
    for (std::size_t token = begin; token < end; ++token, rows += code_bytes()) {
      for (std::size_t g = 0; g < Words::kGroups; ++g) {
        for (std::size_t l = 0; l < lines; ++l)
          move_word<Words::kBytes, ToBlock>(block, Words::place(l, g, token, lines), rows, g * lines + l);
      }
      move_rest<ToBlock>(block, lines * Words::kBytes * Words::kGroups, token, rows);
    }
  }

  // What is left of a key behind its whole words: two bytes, if there are so many, and one.
  template <bool ToBlock>
  void move_rest(std::uint8_t* block, std::size_t at, std::size_t token, std::uint8_t* row) const noexcept {
    if (code_bytes() - at >= 2) {
      move_word<2, ToBlock>(block + kBlockTokens * at, token, row + at, 0);
      at += 2;
    }
    if (code_bytes() > at) move_word<1, ToBlock>(block + kBlockTokens * at, token, row + at, 0);
  }
};

}  // namespace

std::unique_ptr<const BlockOrder> word_order(const CodeSpec& spec, Role role) {
  if (role == Role::keys) return std::make_unique<WordOrder<KeyWords>>(spec);
  if (has_whole_words(spec.head_dim, spec.bits, role) && !spec.is_part())
    return std::make_unique<WordOrder<ValueHalves>>(spec);
  return std::make_unique<WordOrder<QuadBytes>>(spec);
}

}  // namespace veloxquant
