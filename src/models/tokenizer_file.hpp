// What a tokenizer.json says, read and checked, as plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace veloxquant::tokenizing {

// Ids are below this; the largest vocabularies in use have about 260,000 tokens.
inline constexpr std::uint32_t kIdLimit = 1u << 24;

struct VocabularyEntry {
  std::string piece;  // in the byte alphabet
  std::uint32_t id;
};

struct AddedToken {
  std::string content;  // plain text
  std::uint32_t id;
  bool special;     // left out by decode(ids, true)
  bool normalized;  // looked for after the normalizer instead of before
};

// One station of the pre-tokenizer: each piece may get a space before it, then is split.
struct SplitStage {
  bool add_prefix_space = false;
  std::optional<std::string> pattern;  // Oniguruma; none: pieces stay whole
};

struct TokenizerFile {
  std::vector<VocabularyEntry> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  bool ignore_merges = false;  // a word that is a piece becomes it, whether merges lead there or not
  std::vector<AddedToken> added_tokens;
  bool nfc = false;
  std::vector<SplitStage> stages;
  std::vector<std::uint32_t> ids_before, ids_after;  // around a single sequence
};

// Throws ModelError or UnsupportedError naming the field.
TokenizerFile read_tokenizer_file(std::string_view json);

}  // namespace veloxquant::tokenizing
