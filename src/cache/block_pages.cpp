// Blocks of a page in their two orders.

#include <algorithm>
#include <cstring>
#include <vector>

#include "cache/cache_state.hpp"

namespace veloxquant {

CanonicalRows canonical_rows(const CacheState& cache, const CacheRow& row, int head, Role role,
                             std::int64_t coded, int count, std::uint8_t* buffer) {
  const HeadBlock& block = cache.blocks[static_cast<std::size_t>(head)];
  const BlockLayout& layout = block.layout;
  const auto slot = static_cast<std::size_t>(coded % kPageTokens);
  const std::uint8_t* bytes = cache.block(row.pages, coded, head);
  const bool keys = role == Role::keys;
  const BlockOrder& order = keys ? *block.keys : *block.values;
  std::uint8_t* scales = buffer + static_cast<std::size_t>(count) * order.code_bytes();
  CanonicalRows rows{buffer, scales};
  if (coded / kPageTokens >= row.packed || order.in_rows()) {
    rows = {bytes + (keys ? layout.key_codes(slot) : layout.value_codes(slot)),
            bytes + (keys ? layout.key_scales(slot) : layout.value_scales(slot))};
  } else {
    order.unpack(bytes + (keys ? layout.key_codes(0) : layout.value_codes(0)), static_cast<int>(slot), count,
                 buffer, scales);
  }
  if (!layout.shares_gains()) return rows;
  std::transform(bytes + layout.key_scales(slot), bytes + layout.key_scales(slot) + count, scales,
                 keys ? key_gain : value_gain);
  return {rows.codes, scales};
}

std::size_t canonical_buffer(const CacheState& cache) noexcept {
  std::size_t bytes = 0;
  for (const HeadBlock& block : cache.blocks) {
    for (const VectorBytes& side : {block.layout.keys(), block.layout.values()})
      bytes = std::max(bytes, kPageTokens * (side.codes + side.scales));
  }
  return bytes;
}

void pack_block(const HeadBlock& block, const std::uint8_t* rows, std::uint8_t* packed) {
  const BlockLayout& layout = block.layout;
  if (block.keys->in_rows() && block.values->in_rows() && rows == packed) return;
  const std::vector<std::uint8_t> copy(rows, rows + layout.bytes());
  block.keys->pack(copy.data(), copy.data() + layout.key_scales(0), packed);
  block.values->pack(copy.data() + layout.value_codes(0), copy.data() + layout.value_scales(0),
                     packed + layout.value_codes(0));
}

void unpack_block(const HeadBlock& block, const std::uint8_t* packed, std::uint8_t* rows) {
  const BlockLayout& layout = block.layout;
  block.keys->unpack(packed, 0, kBlockTokens, rows, rows + layout.key_scales(0));
  block.values->unpack(packed + layout.value_codes(0), 0, kBlockTokens, rows + layout.value_codes(0),
                       rows + layout.value_scales(0));
}

}  // namespace veloxquant
