#include <fmt/format.h>

#include <limits>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "models/tokenizer_file.hpp"
#include "models/tokenizer_pipeline.hpp"
#include "models/tokenizer_vocabulary.hpp"

namespace veloxquant {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(const tokenizing::TokenizerFile& file)
      : vocabulary(file), pipeline(vocabulary, file), ids_before(file.ids_before), ids_after(file.ids_after) {
    for (const auto* ids : {&ids_before, &ids_after}) {
      for (const std::uint32_t id : *ids) token(id, "tokenizer");
    }
  }

  const tokenizing::Token& token(std::uint32_t id, const char* operation) const {
    const tokenizing::Token* found = vocabulary.by_id(id);
    if (found == nullptr) {
      throw ConfigError(
          operation, fmt::format("the vocabulary has no id {}; its ids are below {}", id, vocabulary.size()));
    }
    return *found;
  }

  void encode(std::string_view text, std::vector<std::uint32_t>& ids) const {
    if (text.size() >= std::numeric_limits<std::uint32_t>::max()) {
      throw UnsupportedError("encode",
                             fmt::format("the text has {} bytes; a call takes less than 4 GiB", text.size()));
    }
    pipeline.encode(text, ids);
  }

  tokenizing::Vocabulary vocabulary;
  tokenizing::Pipeline pipeline;
  std::vector<std::uint32_t> ids_before, ids_after;
};

Tokenizer Tokenizer::load(const std::filesystem::path& tokenizer_json) {
  return parse(read_file(tokenizer_json, kMaxFileBytes));
}

Tokenizer Tokenizer::parse(std::string_view json) {
  return Tokenizer(std::make_shared<const Impl>(tokenizing::read_tokenizer_file(json)));
}

std::vector<std::uint32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::uint32_t> ids;
  impl_->encode(text, ids);
  return ids;
}

std::vector<std::uint32_t> Tokenizer::encode_with_special(std::string_view text) const {
  std::vector<std::uint32_t> ids = impl_->ids_before;
  impl_->encode(text, ids);
  ids.insert(ids.end(), impl_->ids_after.begin(), impl_->ids_after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::uint32_t> ids, bool skip_special) const {
  std::string text;
  for (const std::uint32_t id : ids) {
    const tokenizing::Token& token = impl_->token(id, "decode");
    if (!(skip_special && token.special)) text += token.bytes;
  }
  return text;
}

std::size_t Tokenizer::vocab_size() const noexcept { return impl_->vocabulary.size(); }

std::optional<std::uint32_t> Tokenizer::token_id(std::string_view token) const noexcept {
  const tokenizing::Token* found = impl_->vocabulary.by_spelling(token);
  return found == nullptr ? std::nullopt : std::optional(found->id);
}

const std::string& Tokenizer::token(std::uint32_t id) const { return impl_->token(id, "token").spelling; }

}  // namespace veloxquant
