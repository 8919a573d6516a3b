#include "pack/block_order.hpp"

#include <cstring>

#include "pack/mixed_order.hpp"
#include "pack/plane_order.hpp"
#include "pack/word_order.hpp"

namespace veloxquant {
namespace {

class RowOrder final : public BlockOrder {
 public:
  RowOrder(std::size_t code_bytes, std::size_t scale_bytes) noexcept : BlockOrder(code_bytes, scale_bytes) {}

  bool in_rows() const noexcept override { return true; }

  void pack(const std::uint8_t* codes, const std::uint8_t* scales, std::uint8_t* block) const override {
    if (code_bytes() > 0) std::memcpy(block, codes, kBlockTokens * code_bytes());
    if (scale_bytes() > 0)
      std::memcpy(block + kBlockTokens * code_bytes(), scales, kBlockTokens * scale_bytes());
  }
  void unpack(const std::uint8_t* block, int first, int count, std::uint8_t* codes,
              std::uint8_t* scales) const override {
    if (count == 0) return;  // the buffers of no rows may be null
    if (code_bytes() > 0) {
      std::memcpy(codes, block + static_cast<std::size_t>(first) * code_bytes(),
                  static_cast<std::size_t>(count) * code_bytes());
    }
    if (scale_bytes() > 0) {
      std::memcpy(scales,
                  block + kBlockTokens * code_bytes() + static_cast<std::size_t>(first) * scale_bytes(),
                  static_cast<std::size_t>(count) * scale_bytes());
    }
  }
};

}  // namespace

void BlockOrder::pack_scales(const std::uint8_t* scales, std::uint8_t* block) const noexcept {
  const std::size_t number = scale_bytes_ % 2 == 0 ? 2 : 1;
  std::uint8_t* to = block + kBlockTokens * code_bytes_;
  for (std::size_t i = 0; i < scale_bytes_; i += number) {
    for (std::size_t t = 0; t < kBlockTokens; ++t, to += number)
      std::memcpy(to, scales + t * scale_bytes_ + i, number);
  }
}

void BlockOrder::unpack_scales(const std::uint8_t* block, int first, int count,
                               std::uint8_t* scales) const noexcept {
  const std::size_t number = scale_bytes_ % 2 == 0 ? 2 : 1;
  const std::uint8_t* from = block + kBlockTokens * code_bytes_ + number * static_cast<std::size_t>(first);
  for (std::size_t i = 0; i < scale_bytes_; i += number, from += number * kBlockTokens) {
    for (std::size_t t = 0; t < static_cast<std::size_t>(count); ++t)
      std::memcpy(scales + t * scale_bytes_ + i, from + number * t, number);
  }
}

std::unique_ptr<const BlockOrder> block_order(const CodeSpec& spec, Role role) {
  if (spec.kind == CodeKind::scalar && has_plane_order(spec.head_dim, role)) return plane_order(spec, role);
  if (has_group_order(spec)) return plane_order(spec, role);
  if (spec.kind == CodeKind::trellis && has_word_order(spec.head_dim)) return word_order(spec, role);
  if (spec.kind == CodeKind::mixed) return mixed_order(spec, role);
  return row_order(spec.code_bytes(), spec.scale_bytes());
}

std::unique_ptr<const BlockOrder> row_order(std::size_t code_bytes, std::size_t scale_bytes) {
  return std::make_unique<RowOrder>(code_bytes, scale_bytes);
}

}  // namespace veloxquant
