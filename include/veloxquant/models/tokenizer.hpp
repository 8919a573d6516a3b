// Text to token ids and back, as a `tokenizer.json` (Hugging Face tokenizers format) says.
//
// Byte-level BPE is served: the scheme of GPT-2, Llama 3, Qwen 2 and 3, Mistral's newer models and SmolLM.
// Text passes through these stations, each stated by the file and never guessed from the model's name:
//
//     bytes -> added tokens cut out -> normalizer -> split pattern -> merges -> ids
//
// What a file may ask for:
//   model          BPE with all 256 single-byte pieces; merges as "a b" or ["a", "b"]; ignore_merges
//   normalizer     null, NFC (Unicode 14), or a Sequence of those
//   pre_tokenizer  ByteLevel, or a Sequence of Split (Regex, Isolated, not inverted) and Digits that ends in
//                  ByteLevel; patterns are Oniguruma's and are run by PCRE2, so only constructs that mean the
//                  same to both are taken (letters and digits: of the Unicode version that PCRE2 has)
//   post_processor null, ByteLevel, TemplateProcessing, or a Sequence of those
//   decoder        ByteLevel
//   added_tokens   special or not, normalized or not; single_word, lstrip and rstrip must be false
// Anything else (Unigram, WordPiece, Metaspace, byte_fallback, dropout, ...) is refused with the name that
// the file used: UnsupportedError for a meaningful request, ModelError for a damaged file.
//
// Bytes that are not well-formed UTF-8 belong to no text that the reference implementation could be given.
// Here each of them becomes the token of that single byte, and the well-formed runs between them are encoded
// as texts of their own. Hence decode(encode(x)) == x for every byte string x, unless the file itself alters
// text (NFC, add_prefix_space).
//
// A Tokenizer is immutable and cheap to copy; all its methods may be called from any number of threads at
// once. Paper: Sennrich, Haddow, Birch 2016 (arXiv:1508.07909); bytes as characters: Radford et al. 2019
// (GPT-2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace veloxquant {

class Tokenizer {
 public:
  // Reads a tokenizer.json (at most 256 MiB). Throws IoError when it cannot be read, else as parse().
  static Tokenizer load(const std::filesystem::path& tokenizer_json);

  // The same from memory. Throws ModelError (not JSON, contradictory or damaged) or UnsupportedError (asks
  // for something that is not served); the message names the field and its value.
  static Tokenizer parse(std::string_view json);

  // Ids of `text` alone: nothing is put before or after it, but added tokens written out in the text
  // ("<|end_of_text|>") become their ids. Time is O(n log n) in the longest word at worst.
  // Throws ModelError when the split pattern gives up (its step limit), UnsupportedError for 4 GiB or more.
  std::vector<std::uint32_t> encode(std::string_view text) const;

  // The same with the special tokens that the post_processor puts around a single sequence (mostly BOS).
  std::vector<std::uint32_t> encode_with_special(std::string_view text) const;

  // The bytes that the ids stand for, joined. The result may end, or begin, inside a UTF-8 character when the
  // ids do. Added tokens give their text, or nothing if they are special and `skip_special` is set. Throws
  // ConfigError naming an id that the vocabulary does not have.
  std::string decode(std::span<const std::uint32_t> ids, bool skip_special = false) const;

  // One more than the largest id: the rows that an embedding table needs. Ids below it may be unused.
  std::size_t vocab_size() const noexcept;

  // The id of a token as the file spells it ("<|begin_of_text|>", or with the byte alphabet: "\u0120the").
  std::optional<std::uint32_t> token_id(std::string_view token) const noexcept;

  // The file's spelling of an id; lives as long as this tokenizer or a copy of it. Throws ConfigError as
  // decode().
  const std::string& token(std::uint32_t id) const;

 private:
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace veloxquant
