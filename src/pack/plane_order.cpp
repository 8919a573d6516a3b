#include "pack/plane_order.hpp"

#include <cstring>
#include <type_traits>
#include <vector>

#include "pack/bits.hpp"
#include "pack/plane_pack.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kLine = 64;

// One register as the header describes it: a byte for each of 64 codes.
struct Register {
  std::uint64_t words[8] = {};
};

// The planes of a code of `bits` bits, low bits first.
template <class Visit>
void for_each_plane(int bits, const Visit& visit) {
  if (bits == 8) return visit(0, 8);
  int shift = 0;
  for (const int width : {4, 2, 1}) {
    if ((bits & width) == 0) continue;
    visit(shift, width);
    shift += width;
  }
}

constexpr std::uint64_t every_byte(unsigned value) noexcept { return value * 0x0101010101010101u; }

// Register k of a unit of lines: of a plane of p bits it is field k % (8 / p) of line k / (8 / p).
Register get_register(const std::uint8_t* unit, int bits, int k, int registers) noexcept {
  Register codes;
  for_each_plane(bits, [&](int shift, int width) {
    const int fields = 8 / width;
    const std::uint64_t mask = every_byte((1u << width) - 1u);
    const std::uint8_t* line = unit + static_cast<std::size_t>(k / fields) * kLine;
    for (int w = 0; w < 8; ++w) {
      std::uint64_t word;
      std::memcpy(&word, line + 8 * w, 8);
      codes.words[w] |= ((word >> (width * (k % fields))) & mask) << shift;
    }
    unit += static_cast<std::size_t>(registers / fields) * kLine;
  });
  return codes;
}

// Codes of 64 vectors, a byte each: [64][head_dim].
class ByteRows {
 public:
  explicit ByteRows(int head_dim)
      : width_(static_cast<std::size_t>(head_dim)), bytes_(kBlockTokens * width_) {}
  std::uint8_t* at(int token, int dim) noexcept {
    return bytes_.data() + static_cast<std::size_t>(token) * width_ + static_cast<std::size_t>(dim);
  }

 private:
  std::size_t width_;
  std::vector<std::uint8_t> bytes_;
};

// Keys: 8 dimensions a unit, of 8 registers; register k is quad k / 4 of group k % 4.
struct KeyPlanes {
  static constexpr int kDims = 8, kRegisters = 8;
  static int first_token(int k) noexcept { return k % 4 * 16; }
  static constexpr int kTokens = 16;  // of a register
  static constexpr auto kPack = pack_key_planes;

  static void store(const Register& codes, ByteRows& rows, int dim, int k) noexcept {
    for (int t = 0; t < kTokens; ++t) {
      std::memcpy(rows.at(first_token(k) + t, dim + k / 4 * 4),
                  reinterpret_cast<const std::uint8_t*>(codes.words) + 4 * t, 4);
    }
  }

  // The codes of one token: of each register its four bytes.
  static void read_token(const std::uint8_t* block, int head_dim, int bits, int token,
                         std::uint8_t* codes) noexcept {
    const std::size_t at = static_cast<std::size_t>(token % kTokens) * 4;
    for (int dim = 0; dim < head_dim; dim += kDims) {
      for (int k = token / kTokens; k < kRegisters; k += kRegisters / 2) {
        std::uint32_t quad = 0;
        const std::uint8_t* plane = block;
        for_each_plane(bits, [&](int shift, int width) {
          const int fields = 8 / width;
          std::uint32_t four;
          std::memcpy(&four, plane + static_cast<std::size_t>(k / fields) * kLine + at, 4);
          quad |=
              ((four >> (width * (k % fields))) & static_cast<std::uint32_t>(every_byte((1u << width) - 1u)))
              << shift;
          plane += static_cast<std::size_t>(kRegisters / fields) * kLine;
        });
        std::memcpy(codes + dim + k / 4 * 4, &quad, 4);
      }
      block += static_cast<std::size_t>(bits) * kLine;
    }
  }
};

// Values: 16 dimensions a unit, of 16 registers; register k is token quad k.
struct ValuePlanes {
  static constexpr int kDims = 16, kRegisters = 16;
  static int first_token(int k) noexcept { return 4 * k; }
  static constexpr int kTokens = 4;
  static constexpr auto kPack = pack_value_planes;

  static void store(const Register& codes, ByteRows& rows, int dim, int k) noexcept {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(codes.words);
    for (int t = 0; t < kTokens; ++t) {
      std::uint8_t* row = rows.at(4 * k + t, dim);
      for (int d = 0; d < kDims; ++d) row[d] = bytes[4 * d + t];
    }
  }
};

template <class Planes>
class PlaneOrder final : public BlockOrder {
 public:
  explicit PlaneOrder(const CodeSpec& spec)
      : BlockOrder(spec.code_bytes(), spec.scale_bytes()), head_dim_(spec.head_dim), bits_(spec.bits) {}

  void pack(const std::uint8_t* codes, const std::uint8_t* scales, std::uint8_t* block) const override {
    Planes::kPack(codes, head_dim_, bits_, block);
    pack_scales(scales, block);
  }

  void unpack(const std::uint8_t* block, int first, int count, std::uint8_t* codes,
              std::uint8_t* scales) const override {
    if constexpr (std::is_same_v<Planes, KeyPlanes>) {
      if (count == 1) return unpack_key(block, first, codes, scales);
    }
    ByteRows rows(head_dim_);
    for (int dim = 0; dim < head_dim_; dim += Planes::kDims) {
      for (int k = 0; k < Planes::kRegisters; ++k) {
        const int begin = Planes::first_token(k);
        if (begin + Planes::kTokens <= first || begin >= first + count) continue;
        Planes::store(get_register(block + unit(dim), bits_, k, Planes::kRegisters), rows, dim, k);
      }
    }
    for (int t = 0; t < count; ++t) {
      pack_codes(rows.at(first + t, 0), head_dim_, bits_, codes + static_cast<std::size_t>(t) * code_bytes());
    }
    unpack_scales(block, first, count, scales);
  }

 private:
  void unpack_key(const std::uint8_t* block, int token, std::uint8_t* codes, std::uint8_t* scales) const {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(head_dim_));
    KeyPlanes::read_token(block, head_dim_, bits_, token, bytes.data());
    pack_codes(bytes.data(), head_dim_, bits_, codes);
    unpack_scales(block, token, 1, scales);
  }
  std::size_t unit(int dim) const noexcept {
    return static_cast<std::size_t>(dim * bits_) * (kBlockTokens / 8);
  }

  int head_dim_, bits_;
};

}  // namespace

std::unique_ptr<const BlockOrder> plane_order(const CodeSpec& spec, Role role) {
  if (role == Role::keys) return std::make_unique<PlaneOrder<KeyPlanes>>(spec);
  return std::make_unique<PlaneOrder<ValuePlanes>>(spec);
}

}  // namespace veloxquant
