#include "models/tokenizer_vocabulary.hpp"

#include <fmt/format.h>

#include <limits>

#include "models/byte_level.hpp"
#include "models/tokenizer_json.hpp"

namespace veloxquant::tokenizing {
namespace {
constexpr std::uint32_t kNoPlace = std::numeric_limits<std::uint32_t>::max();
}

Vocabulary::Vocabulary(const TokenizerFile& file) {
  // Both are sized once: spellings must not move while the table points at them.
  const std::size_t most = file.vocabulary.size() + file.added_tokens.size();
  tokens_.reserve(most);
  place_of_spelling_.reserve(most);
  add_pieces(file.vocabulary);
  add_added_tokens(file.added_tokens);
}

void Vocabulary::add(Token token) {
  if (token.id >= place_of_id_.size()) place_of_id_.resize(token.id + std::size_t{1}, kNoPlace);
  std::uint32_t& place = place_of_id_[token.id];
  if (place != kNoPlace) {
    refuse_damaged(fmt::format("id {} is given to both {} and {}", token.id,
                               shown(std::string_view(tokens_[place].spelling)),
                               shown(std::string_view(token.spelling))));
  }
  place = static_cast<std::uint32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
  place_of_spelling_.insert(tokens_.back().spelling, place);
}

void Vocabulary::add_pieces(const std::vector<VocabularyEntry>& pieces) {
  for (const auto& [piece, id] : pieces) {
    auto bytes = bytes_of_piece(piece);
    const bool byte_level = bytes.has_value();
    add({piece, byte_level ? std::move(*bytes) : piece, id, byte_level, false});
  }
}

void Vocabulary::add_added_tokens(const std::vector<AddedToken>& added) {
  for (const AddedToken& token : added) {
    const std::uint32_t* place = place_of_spelling_.find(token.content);
    if (place == nullptr) {
      add({token.content, token.content, token.id, false, token.special});
      continue;
    }
    Token& known = tokens_[*place];
    if (known.id != token.id) {
      refuse_damaged(fmt::format("added token {} has id {}, but is already known as {}",
                                 shown(std::string_view(token.content)), token.id, known.id));
    }
    // Added tokens stand for their plain text even where they use letters of the byte alphabet.
    known.bytes = token.content;
    known.special = token.special;
  }
}

const Token* Vocabulary::by_id(std::uint32_t id) const noexcept {
  if (id >= place_of_id_.size() || place_of_id_[id] == kNoPlace) return nullptr;
  return &tokens_[place_of_id_[id]];
}

const Token* Vocabulary::by_spelling(std::string_view spelling) const noexcept {
  const std::uint32_t* place = place_of_spelling_.find(spelling);
  return place == nullptr ? nullptr : &tokens_[*place];
}

}  // namespace veloxquant::tokenizing
