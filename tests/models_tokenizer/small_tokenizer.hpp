// A tokenizer.json made by hand: the 256 bytes as ids 0..255, some merges, and whatever a test changes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/models/tokenizer.hpp>

#include "models/byte_level.hpp"

namespace veloxquant::testing {

using Json = nlohmann::json;
using Ids = std::vector<std::uint32_t>;
using Merges = std::vector<std::pair<std::string, std::string>>;  // plain bytes

inline std::uint32_t byte_id(char byte) { return static_cast<std::uint8_t>(byte); }

inline Ids byte_ids(std::string_view bytes) {
  Ids ids;
  for (const char byte : bytes) ids.push_back(byte_id(byte));
  return ids;
}

inline Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

inline Json split(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

inline Json sequence(std::vector<Json> stations) {
  return {{"type", "Sequence"}, {"pretokenizers", stations}};
}

inline Json added(const std::string& content, std::uint32_t id, bool special, bool normalized = false) {
  return {{"id", id},        {"content", content},       {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", normalized}, {"special", special}};
}

// Merges get the ids 256, 257, ... in their order.
inline Json small_tokenizer(const Merges& merges = {}) {
  Json vocab = Json::object(), rules = Json::array();
  for (unsigned b = 0; b < 256; ++b)
    vocab[tokenizing::piece_of_bytes(std::string(1, static_cast<char>(b)))] = b;
  for (const auto& [left, right] : merges) {
    vocab[tokenizing::piece_of_bytes(left + right)] = vocab.size();
    rules.push_back({tokenizing::piece_of_bytes(left), tokenizing::piece_of_bytes(right)});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level(false, true)},
          {"post_processor", nullptr},
          {"decoder", byte_level(true, true)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", rules}}}};
}

inline Tokenizer parse(const Json& file) { return Tokenizer::parse(file.dump()); }

}  // namespace veloxquant::testing
