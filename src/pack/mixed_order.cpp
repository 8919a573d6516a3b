#include "pack/mixed_order.hpp"

#include <cstring>
#include <vector>

namespace veloxquant {
namespace {

class MixedOrder final : public BlockOrder {
 public:
  MixedOrder(const CodeSpec& spec, Role role) : BlockOrder(spec.code_bytes(), spec.scale_bytes()) {
    for (std::size_t i = 0; i < spec.runs.size(); ++i) runs_.push_back(block_order(spec.of_run(i), role));
  }

  void pack(const std::uint8_t* codes, const std::uint8_t* scales, std::uint8_t* block) const override {
    std::size_t at = 0;  // of the run in a row
    std::vector<std::uint8_t> rows;
    for (const auto& run : runs_) {
      const std::size_t bytes = run->code_bytes();
      rows.resize(kBlockTokens * bytes);
      for (std::size_t t = 0; t < kBlockTokens; ++t)
        std::memcpy(rows.data() + t * bytes, codes + t * code_bytes() + at, bytes);
      run->pack(rows.data(), nullptr, block + kBlockTokens * at);
      at += bytes;
    }
    pack_scales(scales, block);
  }

  void unpack(const std::uint8_t* block, int first, int count, std::uint8_t* codes,
              std::uint8_t* scales) const override {
    std::size_t at = 0;
    std::vector<std::uint8_t> rows;
    for (const auto& run : runs_) {
      const std::size_t bytes = run->code_bytes();
      rows.resize(static_cast<std::size_t>(count) * bytes);
      run->unpack(block + kBlockTokens * at, first, count, rows.data(), nullptr);
      for (std::size_t t = 0; t < static_cast<std::size_t>(count); ++t)
        std::memcpy(codes + t * code_bytes() + at, rows.data() + t * bytes, bytes);
      at += bytes;
    }
    unpack_scales(block, first, count, scales);
  }

 private:
  std::vector<std::unique_ptr<const BlockOrder>> runs_;
};

}  // namespace

std::unique_ptr<const BlockOrder> mixed_order(const CodeSpec& spec, Role role) {
  return std::make_unique<MixedOrder>(spec, role);
}

}  // namespace veloxquant
