#include "pack/block_order.hpp"

#include <cstring>

#include "pack/plane_order.hpp"

namespace veloxquant {
namespace {

class RowOrder final : public BlockOrder {
 public:
  RowOrder(std::size_t code_bytes, std::size_t scale_bytes) noexcept : BlockOrder(code_bytes, scale_bytes) {}

  bool in_rows() const noexcept override { return true; }

  void pack(const std::uint8_t* codes, const std::uint8_t* scales, std::uint8_t* block) const override {
    if (code_bytes() > 0) std::memcpy(block, codes, kBlockTokens * code_bytes());
    pack_scales(scales, block);
  }
  void unpack(const std::uint8_t* block, int first, int count, std::uint8_t* codes,
              std::uint8_t* scales) const override {
    if (code_bytes() > 0) {
      std::memcpy(codes, block + static_cast<std::size_t>(first) * code_bytes(),
                  static_cast<std::size_t>(count) * code_bytes());
    }
    unpack_scales(block, first, count, scales);
  }
};

}  // namespace

void BlockOrder::pack_scales(const std::uint8_t* scales, std::uint8_t* block) const noexcept {
  if (scale_bytes_ > 0) std::memcpy(block + kBlockTokens * code_bytes_, scales, kBlockTokens * scale_bytes_);
}

void BlockOrder::unpack_scales(const std::uint8_t* block, int first, int count,
                               std::uint8_t* scales) const noexcept {
  if (scale_bytes_ == 0) return;
  std::memcpy(scales, block + kBlockTokens * code_bytes_ + static_cast<std::size_t>(first) * scale_bytes_,
              static_cast<std::size_t>(count) * scale_bytes_);
}

std::unique_ptr<const BlockOrder> block_order(const CodeSpec& spec, Role role) {
  if (spec.kind == CodeKind::scalar && has_plane_order(spec.head_dim)) return plane_order(spec, role);
  return row_order(spec.code_bytes(), spec.scale_bytes());
}

std::unique_ptr<const BlockOrder> row_order(std::size_t code_bytes, std::size_t scale_bytes) {
  return std::make_unique<RowOrder>(code_bytes, scale_bytes);
}

}  // namespace veloxquant
