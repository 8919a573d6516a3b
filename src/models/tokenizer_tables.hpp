// Two small hash tables with open addressing (linear probing, at most half full), built once and then only
// read.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

namespace veloxquant::tokenizing {

inline std::size_t table_capacity(std::size_t entries) { return std::bit_ceil(2 * entries + 1); }

// 64-bit key -> 64-bit value. The key of all ones is not available.
class PairMap {
 public:
  // Room for `entries`; empties the map.
  void reserve(std::size_t entries) { slots_.assign(table_capacity(entries), Slot{}); }

  // False, and no change, when the key is there already. The caller reserved the room.
  bool insert(std::uint64_t key, std::uint64_t value) {
    Slot& slot = slots_[place(key)];
    if (slot.key == key) return false;
    slot = {key, value};
    return true;
  }

  const std::uint64_t* find(std::uint64_t key) const noexcept {
    const Slot& slot = slots_[place(key)];
    return slot.key == key ? &slot.value : nullptr;
  }

 private:
  static constexpr std::uint64_t kEmpty = std::numeric_limits<std::uint64_t>::max();
  struct Slot {
    std::uint64_t key = kEmpty, value = 0;
  };

  // The slot that holds the key, or the empty one where it belongs.
  std::size_t place(std::uint64_t key) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::uint64_t mixed = key * 0x9E3779B97F4A7C15u;
    mixed ^= mixed >> 32;
    std::size_t at = mixed & mask;
    while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & mask;
    return at;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(1);
};

// String -> 32-bit value. The strings are not copied: they must outlive the table and stay where they are.
class WordMap {
 public:
  void reserve(std::size_t entries) { slots_.assign(table_capacity(entries), Slot{}); }

  // False, and no change, when the word is there already. The caller reserved the room.
  bool insert(std::string_view word, std::uint32_t value) {
    Slot& slot = slots_[place(word)];
    if (slot.data != nullptr) return false;
    slot = {word.data(), static_cast<std::uint32_t>(word.size()), value};
    return true;
  }

  const std::uint32_t* find(std::string_view word) const noexcept {
    const Slot& slot = slots_[place(word)];
    return slot.data != nullptr ? &slot.value : nullptr;
  }

 private:
  struct Slot {
    const char* data = nullptr;
    std::uint32_t size = 0, value = 0;
  };

  std::size_t place(std::string_view word) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = XXH3_64bits(word.data(), word.size()) & mask;
    while (slots_[at].data != nullptr && std::string_view(slots_[at].data, slots_[at].size) != word) {
      at = (at + 1) & mask;
    }
    return at;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(1);
};

}  // namespace veloxquant::tokenizing
