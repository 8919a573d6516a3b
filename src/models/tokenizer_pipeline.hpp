// Text -> ids: the stations of a tokenizer file, in order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer_added.hpp"
#include "models/tokenizer_bpe.hpp"
#include "models/tokenizer_file.hpp"
#include "models/tokenizer_pattern.hpp"

namespace veloxquant::tokenizing {

class Pipeline {
 public:
  // `vocabulary` outlives the pipeline.
  Pipeline(const Vocabulary& vocabulary, const TokenizerFile& file);

  // Appends the ids of any bytes.
  void encode(std::string_view bytes, std::vector<std::uint32_t>& ids) const;

 private:
  struct Stage {
    bool add_prefix_space;
    std::optional<SplitPattern> pattern;
  };
  struct Run;  // one call of encode()

  AddedTokenFinder raw_tokens_, normalized_tokens_;
  bool nfc_;
  std::vector<Stage> stages_;
  BytePairEncoder encoder_;
};

}  // namespace veloxquant::tokenizing
