// Recall: facts hidden in ordinary text, and questions about them at the end.
//
// A sequence is BOS, a passage of the measured text with the facts at random places between its tokens, and
// the questions:
//
//     \nThe access code for the amber harbor is 48213.\n
//     \nQuestion: what is the access code for the amber harbor? Answer: 48213.\n
//
// Names and codes differ within a sequence; the asked facts are drawn from the hidden ones. A question counts
// as right when every token of its answer is the arg-max given the true tokens before it. A cache that has
// lost the keys or the values of a few tokens fails here long before perplexity shows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <veloxquant/eval/windows.hpp>
#include <veloxquant/models/tokenizer.hpp>

namespace veloxquant {

struct RecallOptions {
  std::int64_t seq_len = 4096;  // tokens of a sequence, BOS counted
  int sequences = 8;
  int facts = 8;
  int questions = 5;  // at most `facts`
  std::uint64_t seed = 0;
};

struct RecallSequence {
  // The tokens [begin, end) of the sequence that hold the answer, " 48213.", to a question.
  struct Answer {
    std::size_t begin = 0, end = 0;
  };
  TokenIds ids;  // exactly seq_len
  std::vector<Answer> answers;
};

// `text` is the measured text's tokens; a passage starts at a random place and goes on at the text's start
// when it reaches the end. The result depends on the arguments only, on every machine. Throws ConfigError
// when facts and questions leave no room for text, when the text is empty, or for numbers out of range.
std::vector<RecallSequence> make_recall_sequences(const Tokenizer& tokenizer,
                                                  std::span<const std::uint32_t> text,
                                                  std::optional<std::uint32_t> bos,
                                                  const RecallOptions& options);

}  // namespace veloxquant
