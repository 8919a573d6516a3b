// Block order: how the codes and scales of 64 vectors (keys or values of 64 tokens of one KV head) lie in a
// page.
//
// A full block is read by kernels, so its bits stand in the order in which vector registers want them; the
// bits are those of the canonical rows (CodeSpec draws them), only their places differ. So 64 vectors take
// the same bytes in both orders, 64 (code_bytes + scale_bytes): first all codes, then all scales, each
// section a multiple of 64 bytes. A code that no kernel reads in another order stands as its canonical rows,
// one after the other (row order).
//
// plane_order.hpp draws the order of scalar, affine and integer codes, word_order.hpp that of trellis codes.
// Their scales stand number by number, the first ones of all 64 vectors, then the second ones; in row order
// they stand vector by vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <veloxquant/core/registry.hpp>
#include <veloxquant/quantizers/code_spec.hpp>

namespace veloxquant {

inline constexpr int kBlockTokens = 64;

class BlockOrder {
 public:
  virtual ~BlockOrder() = default;

  std::size_t code_bytes() const noexcept { return code_bytes_; }    // of one vector
  std::size_t scale_bytes() const noexcept { return scale_bytes_; }  // of one vector
  // Of 64 vectors.
  std::size_t bytes() const noexcept { return kBlockTokens * (code_bytes_ + scale_bytes_); }

  // Whether a block is its canonical rows, one after the other.
  virtual bool in_rows() const noexcept { return false; }
  // 64 canonical rows -> a block. `block` is 64-byte aligned; all of its bytes are written.
  virtual void pack(const std::uint8_t* codes, const std::uint8_t* scales, std::uint8_t* block) const = 0;
  // Vectors [first, first + count) of a block -> canonical rows.
  virtual void unpack(const std::uint8_t* block, int first, int count, std::uint8_t* codes,
                      std::uint8_t* scales) const = 0;

 protected:
  BlockOrder(std::size_t code_bytes, std::size_t scale_bytes) noexcept
      : code_bytes_(code_bytes), scale_bytes_(scale_bytes) {}
  // The first scales (f16, or one byte) of all 64 vectors, then the second ones, and so on.
  void pack_scales(const std::uint8_t* scales, std::uint8_t* block) const noexcept;
  void unpack_scales(const std::uint8_t* block, int first, int count, std::uint8_t* scales) const noexcept;

 private:
  std::size_t code_bytes_, scale_bytes_;
};

// The order of a code's keys or values, the same on every CPU.
std::unique_ptr<const BlockOrder> block_order(const CodeSpec& spec, Role role);
// Row order, for vectors of so many bytes whose meaning only their quantizer knows.
std::unique_ptr<const BlockOrder> row_order(std::size_t code_bytes, std::size_t scale_bytes);

}  // namespace veloxquant
