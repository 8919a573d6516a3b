// Byte-pair encoding of one word: starting from single bytes, the adjacent pair with the best (lowest) rank
// is merged, leftmost first among equals, until no pair has a rule.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "models/tokenizer_file.hpp"
#include "models/tokenizer_tables.hpp"
#include "models/tokenizer_vocabulary.hpp"

namespace veloxquant::tokenizing {

class BytePairEncoder {
 public:
  // Memory that encode() reuses between words; one per thread of execution.
  class Scratch {
    friend class BytePairEncoder;
    struct Symbol {
      std::uint32_t id, previous, next;  // neighbours by position
    };
    std::vector<Symbol> symbols_;
    std::vector<std::uint64_t> queue_;  // rank << 32 | position of the left symbol; a heap, best in front
  };

  // Keeps views of the vocabulary's strings, which must outlive it. Throws ModelError when a byte has no
  // piece, or a merge names an unknown piece, makes one, or comes twice.
  BytePairEncoder(const Vocabulary& vocabulary, const TokenizerFile& file);

  // Appends the ids of a word of less than 4 GiB. Any bytes will do.
  void encode(std::string_view word, Scratch& scratch, std::vector<std::uint32_t>& ids) const;

  std::uint32_t id_of_byte(char byte) const noexcept { return byte_ids_[static_cast<std::uint8_t>(byte)]; }

 private:
  void collect_bytes(const Vocabulary& vocabulary);
  void collect_merges(const Vocabulary& vocabulary, const TokenizerFile& file);
  void collect_whole_words(const Vocabulary& vocabulary, bool ignore_merges);

  void merge(std::string_view word, Scratch& scratch, std::vector<std::uint32_t>& ids) const;
  const std::uint64_t* rule(std::uint32_t left, std::uint32_t right) const noexcept;
  void enqueue(Scratch& scratch, std::uint32_t left) const;

  std::array<std::uint32_t, 256> byte_ids_{};
  PairMap rules_;        // left << 32 | right -> rank << 32 | id of both
  WordMap whole_words_;  // words known to become a single id
};

}  // namespace veloxquant::tokenizing
