#include "models/tokenizer_pipeline.hpp"

#include "core/utf8.hpp"
#include "models/tokenizer_nfc.hpp"

namespace veloxquant::tokenizing {
namespace {

AddedTokenFinder finder_of(const TokenizerFile& file, bool normalized) {
  std::vector<std::pair<std::string, std::uint32_t>> chosen;
  for (const AddedToken& token : file.added_tokens) {
    if (token.normalized != normalized) continue;
    chosen.emplace_back(normalized && file.nfc ? to_nfc(token.content) : token.content, token.id);
  }
  return AddedTokenFinder(chosen);
}

}  // namespace

Pipeline::Pipeline(const Vocabulary& vocabulary, const TokenizerFile& file)
    : raw_tokens_(finder_of(file, false)),
      normalized_tokens_(finder_of(file, true)),
      nfc_(file.nfc),
      encoder_(vocabulary, file) {
  for (const SplitStage& stage : file.stages) {
    stages_.push_back({stage.add_prefix_space, std::nullopt});
    if (stage.pattern) stages_.back().pattern.emplace(*stage.pattern);
  }
}

struct Pipeline::Run {
  const Pipeline& pipeline;
  std::vector<std::uint32_t>& ids;
  BytePairEncoder::Scratch scratch{};

  // Appends the ids of the tokens found, and hands what lies between them to `rest`.
  template <typename Rest>
  void cut_out(const AddedTokenFinder& finder, std::string_view text, Rest rest) {
    std::size_t done = 0;
    while (const auto match = finder.find(text, done)) {
      if (match->begin > done) rest(text.substr(done, match->begin - done));
      ids.push_back(match->id);
      done = match->end;
    }
    if (done < text.size()) rest(text.substr(done));
  }

  void bytes(std::string_view text) {
    cut_out(pipeline.raw_tokens_, text, [&](std::string_view part) { well_formed_parts(part); });
  }

  void well_formed_parts(std::string_view text) {
    while (!text.empty()) {
      const std::size_t length = well_formed_prefix(text);
      if (length != 0) {
        normalize(text.substr(0, length));
        text.remove_prefix(length);
      } else {
        ids.push_back(pipeline.encoder_.id_of_byte(text.front()));
        text.remove_prefix(1);
      }
    }
  }

  void normalize(std::string_view text) {
    if (pipeline.nfc_) {
      normalized(to_nfc(text));
    } else {
      normalized(text);
    }
  }

  void normalized(std::string_view text) {
    cut_out(pipeline.normalized_tokens_, text, [&](std::string_view part) { split(part, 0); });
  }

  void split(std::string_view text, std::size_t depth) {
    if (depth == pipeline.stages_.size()) return pipeline.encoder_.encode(text, scratch, ids);
    const Stage& stage = pipeline.stages_[depth];
    if (stage.add_prefix_space && text.front() != ' ') {
      split_by(stage, " " + std::string(text), depth);
    } else {
      split_by(stage, text, depth);
    }
  }

  void split_by(const Stage& stage, std::string_view text, std::size_t depth) {
    if (!stage.pattern) return split(text, depth + 1);
    SplitPattern::Pieces pieces(*stage.pattern, text);
    for (std::string_view piece; pieces.next(piece);) split(piece, depth + 1);
  }
};

void Pipeline::encode(std::string_view bytes, std::vector<std::uint32_t>& ids) const {
  Run{*this, ids}.bytes(bytes);
}

}  // namespace veloxquant::tokenizing
