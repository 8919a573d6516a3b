#include "pack/block_order.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "attention/random_cache.hpp"
#include "pack/bits.hpp"
#include "pack/plane_order.hpp"

namespace veloxquant::test {
namespace {

struct AlignedBlock {
  explicit AlignedBlock(std::size_t bytes) : memory(bytes + 64, 0xa5) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    data = memory.data() + (64 - address % 64) % 64;
  }
  std::vector<std::uint8_t> memory;
  std::uint8_t* data;
};

// A code's bits by the picture of plane_order.hpp: plane by plane, from the byte and field where it says they
// are.
unsigned drawn_code(const std::uint8_t* block, int bits, Role role, int token, int dim) {
  const bool keys = role == Role::keys;
  const int unit_dims = keys ? 8 : 16;
  const std::uint8_t* lines = block + static_cast<std::size_t>(dim / unit_dims * unit_dims * bits * 8);
  const int byte = keys ? token % 16 * 4 + dim % 4 : dim % 16 * 4 + token % 4;
  const int index = keys ? dim % 8 / 4 * 4 + token / 16 : token / 4;
  unsigned code = 0;
  int shift = 0;
  for (int plane : {8, 4, 2, 1}) {
    if (bits == 8 ? plane != 8 : plane == 8 || (bits & plane) == 0) continue;
    const int fields = 8 / plane;
    const unsigned value = lines[64 * (index / fields) + byte] >> (plane * (index % fields));
    code |= (value & ((1u << plane) - 1u)) << shift;
    shift += plane;
    lines += unit_dims * plane * 8;
  }
  return code;
}

TEST(BlockOrder, PlanesAreAsDrawn) {
  on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(1);
    for (int bits = 1; bits <= 8; ++bits) {
      for (int head_dim : {16, 80, 128}) {
        const CodeSpec spec = make_spec({CodeKind::scalar, bits, 0}, head_dim);
        const std::vector<std::uint8_t> codes = random_codes(spec, 64, random),
                                        scales = random_scales(spec, 64, random);
        for (Role role : {Role::keys, Role::values}) {
          const auto order = block_order(spec, role);
          AlignedBlock block(order->bytes());
          order->pack(codes.data(), scales.data(), block.data);
          for (int t = 0; t < 64; ++t) {
            for (int c = 0; c < head_dim; ++c) {
              const unsigned code = read_bits(codes.data() + static_cast<std::size_t>(t) * spec.code_bytes(),
                                              static_cast<std::size_t>(c * bits), bits);
              ASSERT_EQ(drawn_code(block.data, bits, role, t, c), code)
                  << level << ", " << bits << " bits, " << to_string(role) << ", token " << t << ", dim "
                  << c;
            }
          }
        }
      }
    }
  });
}

TEST(BlockOrder, EveryCodeComesBackWhole) {
  std::mt19937 random(2);
  for (const CodeChoice& code : all_codes()) {
    for (int head_dim : {18, 64, 80, 96, 112, 128, 192, 256}) {
      if (!exists(code, head_dim)) continue;
      const CodeSpec spec = make_spec(code, head_dim);
      const std::vector<std::uint8_t> codes = random_codes(spec, 64, random),
                                      scales = random_scales(spec, 64, random);
      for (Role role : {Role::keys, Role::values}) {
        const auto order = block_order(spec, role);
        EXPECT_EQ(order->bytes(), 64 * (spec.code_bytes() + spec.scale_bytes()));
        AlignedBlock block(order->bytes());
        order->pack(codes.data(), scales.data(), block.data);
        EXPECT_EQ(block.data[order->bytes()], 0xa5) << "written beyond the block";
        for (const auto& [first, count] :
             {std::pair{0, 64}, {0, 1}, {17, 1}, {63, 1}, {15, 2}, {3, 50}, {5, 0}}) {
          const auto rows = static_cast<std::size_t>(count), from = static_cast<std::size_t>(first);
          std::vector<std::uint8_t> back(rows * spec.code_bytes()), back_scales(rows * spec.scale_bytes());
          order->unpack(block.data, first, count, back.data(), back_scales.data());
          const auto part = [&](const std::vector<std::uint8_t>& all, std::size_t width) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(from * width);
            return std::vector<std::uint8_t>(begin, begin + static_cast<std::ptrdiff_t>(rows * width));
          };
          EXPECT_EQ(back, part(codes, spec.code_bytes())) << spec.name() << " " << head_dim << " " << first;
          EXPECT_EQ(back_scales, part(scales, spec.scale_bytes())) << spec.name() << " " << head_dim;
        }
      }
    }
  }
}

}  // namespace
}  // namespace veloxquant::test
