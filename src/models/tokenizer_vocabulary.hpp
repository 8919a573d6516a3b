// Every token of a tokenizer: model pieces and added tokens, by id and by spelling.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer_file.hpp"
#include "models/tokenizer_tables.hpp"

namespace veloxquant::tokenizing {

struct Token {
  std::string spelling;  // as the file writes it
  std::string bytes;     // what it decodes to
  std::uint32_t id = 0;
  bool byte_level = false;  // a piece of the model, spelled in the byte alphabet
  bool special = false;
};

class Vocabulary {
 public:
  // Throws ModelError when two tokens share an id or one spelling has two.
  explicit Vocabulary(const TokenizerFile& file);
  Vocabulary(const Vocabulary&) = delete;  // the table points into the tokens
  Vocabulary& operator=(const Vocabulary&) = delete;

  // One more than the largest id.
  std::size_t size() const noexcept { return place_of_id_.size(); }
  const std::vector<Token>& tokens() const noexcept { return tokens_; }
  // nullptr when there is no such token.
  const Token* by_id(std::uint32_t id) const noexcept;
  const Token* by_spelling(std::string_view spelling) const noexcept;

 private:
  void add(Token token);
  void add_pieces(const std::vector<VocabularyEntry>& pieces);
  void add_added_tokens(const std::vector<AddedToken>& added);

  std::vector<Token> tokens_;
  std::vector<std::uint32_t> place_of_id_;  // in tokens_, or kNoPlace
  WordMap place_of_spelling_;
};

}  // namespace veloxquant::tokenizing
