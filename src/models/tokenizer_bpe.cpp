#include "models/tokenizer_bpe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>

#include "models/byte_level.hpp"
#include "models/tokenizer_json.hpp"

namespace veloxquant::tokenizing {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

std::uint64_t join(std::uint32_t high, std::uint32_t low) { return std::uint64_t{high} << 32 | low; }

const Token& piece_of_merge(const Vocabulary& vocabulary, const std::string& piece, std::size_t rank) {
  const Token* token = vocabulary.by_spelling(piece);
  if (token == nullptr) {
    refuse_damaged(fmt::format("model.merges[{}] needs the piece \"{}\", which model.vocab does not have",
                               rank, shown(std::string_view(piece))));
  }
  return *token;
}

}  // namespace

BytePairEncoder::BytePairEncoder(const Vocabulary& vocabulary, const TokenizerFile& file) {
  collect_bytes(vocabulary);
  collect_merges(vocabulary, file);
  collect_whole_words(vocabulary, file.ignore_merges);
}

void BytePairEncoder::collect_bytes(const Vocabulary& vocabulary) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string piece = piece_of_bytes(std::string(1, static_cast<char>(byte)));
    const Token* token = vocabulary.by_spelling(piece);
    if (token == nullptr || !token->byte_level) {
      refuse_damaged(fmt::format(
          "model.vocab has no piece \"{}\" for the byte {}; byte-level BPE needs all 256", piece, byte));
    }
    byte_ids_[byte] = token->id;
  }
}

void BytePairEncoder::collect_merges(const Vocabulary& vocabulary, const TokenizerFile& file) {
  rules_.reserve(file.merges.size());
  for (std::size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto& [left, right] = file.merges[rank];
    const std::uint64_t pair =
        join(piece_of_merge(vocabulary, left, rank).id, piece_of_merge(vocabulary, right, rank).id);
    const std::uint32_t both = piece_of_merge(vocabulary, left + right, rank).id;
    if (!rules_.insert(pair, join(static_cast<std::uint32_t>(rank), both))) {
      refuse_damaged(fmt::format("model.merges[{}] repeats the pair \"{} {}\"", rank,
                                 shown(std::string_view(left)), shown(std::string_view(right))));
    }
  }
}

// Most words of a text are pieces. With ignore_merges each piece is its own encoding by decree; without,
// those are that the merges lead to, which is found out once here instead of once a word.
void BytePairEncoder::collect_whole_words(const Vocabulary& vocabulary, bool ignore_merges) {
  whole_words_.reserve(vocabulary.tokens().size());
  Scratch scratch;
  std::vector<std::uint32_t> ids;
  for (const Token& token : vocabulary.tokens()) {
    if (!token.byte_level) continue;
    ids.clear();
    if (!ignore_merges) merge(token.bytes, scratch, ids);
    if (ignore_merges || (ids.size() == 1 && ids[0] == token.id)) whole_words_.insert(token.bytes, token.id);
  }
}

void BytePairEncoder::encode(std::string_view word, Scratch& scratch, std::vector<std::uint32_t>& ids) const {
  if (const std::uint32_t* id = whole_words_.find(word)) {
    ids.push_back(*id);
  } else {
    merge(word, scratch, ids);
  }
}

const std::uint64_t* BytePairEncoder::rule(std::uint32_t left, std::uint32_t right) const noexcept {
  return rules_.find(join(left, right));
}

void BytePairEncoder::enqueue(Scratch& scratch, std::uint32_t left) const {
  const auto& symbols = scratch.symbols_;
  if (left == kNone || symbols[left].next == kNone) return;
  if (const std::uint64_t* found = rule(symbols[left].id, symbols[symbols[left].next].id)) {
    scratch.queue_.push_back(join(static_cast<std::uint32_t>(*found >> 32), left));
    std::push_heap(scratch.queue_.begin(), scratch.queue_.end(), std::greater<>());
  }
}

void BytePairEncoder::merge(std::string_view word, Scratch& scratch, std::vector<std::uint32_t>& ids) const {
  auto& symbols = scratch.symbols_;
  auto& queue = scratch.queue_;
  const auto count = static_cast<std::uint32_t>(word.size());
  symbols.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols[i] = {id_of_byte(word[i]), i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  }
  for (std::uint32_t i = 0; i < count; ++i) enqueue(scratch, i);

  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const auto rank = static_cast<std::uint32_t>(queue.back() >> 32),
               at = static_cast<std::uint32_t>(queue.back());
    queue.pop_back();
    // An entry is stale when its pair has changed since; a symbol that was merged away has the id kNone.
    const std::uint32_t right = symbols[at].next;
    if (symbols[at].id == kNone || right == kNone) continue;
    const std::uint64_t* found = rule(symbols[at].id, symbols[right].id);
    if (found == nullptr || *found >> 32 != rank) continue;

    const std::uint32_t after = symbols[right].next;
    symbols[at].id = static_cast<std::uint32_t>(*found);
    symbols[at].next = after;
    if (after != kNone) symbols[after].previous = at;
    symbols[right].id = kNone;
    enqueue(scratch, symbols[at].previous);
    enqueue(scratch, at);
  }
  for (std::uint32_t i = 0; i < count && i != kNone; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace veloxquant::tokenizing
