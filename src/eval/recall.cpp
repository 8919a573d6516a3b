#include <veloxquant/eval/recall.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

constexpr std::array kAdjectives = {"amber",  "brisk", "calm",  "dusty", "eager",  "faint",  "gentle",
                                    "hollow", "ivory", "jolly", "keen",  "lunar",  "mellow", "noble",
                                    "olive",  "proud", "quiet", "rusty", "silver", "tidy",   "umber",
                                    "vivid",  "witty", "young", "zesty"};
constexpr std::array kNouns = {"anchor",  "bridge", "castle", "desert", "engine",  "forest", "garden",
                               "harbor",  "island", "jacket", "kettle", "lantern", "meadow", "needle",
                               "orchard", "palace", "quarry", "river",  "saddle",  "temple", "umbrella",
                               "valley",  "window", "yacht",  "zephyr"};
constexpr std::uint64_t kNames = kAdjectives.size() * kNouns.size();
constexpr std::uint64_t kFirstCode = 10000, kCodes = 90000;  // five digits, the first not zero

// `count` different numbers below `limit`, in the order in which they were drawn.
std::vector<std::uint64_t> draw_different(SplitMix64& random, std::size_t count, std::uint64_t limit) {
  std::vector<std::uint64_t> drawn;
  while (drawn.size() < count) {
    const std::uint64_t number = random.below(limit);
    if (std::find(drawn.begin(), drawn.end(), number) == drawn.end()) drawn.push_back(number);
  }
  return drawn;
}

// A hidden line and the line that asks for it, as tokens; those of the answer are question[begin, end).
struct Fact {
  TokenIds line, question;
  RecallSequence::Answer answer;
};

// The tokens that hold any of the bytes [begin, end) of the tokens' text. Lines are encoded whole, as text
// is, and a tokenizer may join the answer's last character with what follows.
RecallSequence::Answer tokens_of_bytes(const Tokenizer& tokenizer, const TokenIds& ids, std::size_t begin,
                                       std::size_t end) {
  RecallSequence::Answer answer;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < ids.size() && bytes < end; ++i) {
    bytes += tokenizer.decode(std::span(ids).subspan(i, 1)).size();
    if (bytes <= begin) answer.begin = i + 1;
    answer.end = i + 1;
  }
  return answer;
}

Fact make_fact(const Tokenizer& tokenizer, std::uint64_t name, std::uint64_t number) {
  const std::string what = fmt::format("access code for the {} {}", kAdjectives[name / kNouns.size()],
                                       kNouns[name % kNouns.size()]);
  const std::uint64_t code = kFirstCode + number;
  const std::string question = fmt::format("\nQuestion: what is the {}? Answer:", what);
  const std::string answer = fmt::format(" {}.", code);
  Fact fact;
  fact.line = tokenizer.encode(fmt::format("\nThe {} is {}.\n", what, code));
  fact.question = tokenizer.encode(question + answer + "\n");
  fact.answer = tokens_of_bytes(tokenizer, fact.question, question.size(), question.size() + answer.size());
  return fact;
}

void append(TokenIds& to, const TokenIds& tokens) { to.insert(to.end(), tokens.begin(), tokens.end()); }

RecallSequence make_sequence(const Tokenizer& tokenizer, std::span<const std::uint32_t> text,
                             std::optional<std::uint32_t> bos, const RecallOptions& o, SplitMix64& random) {
  const auto count = static_cast<std::size_t>(o.facts);
  const auto names = draw_different(random, count, kNames), codes = draw_different(random, count, kCodes);
  const auto asked = draw_different(random, static_cast<std::size_t>(o.questions), count);
  std::vector<Fact> facts;
  for (std::size_t i = 0; i < count; ++i) facts.push_back(make_fact(tokenizer, names[i], codes[i]));

  std::size_t fixed = bos ? 1 : 0;
  for (const Fact& fact : facts) fixed += fact.line.size();
  for (const std::uint64_t i : asked) fixed += facts[i].question.size();
  const auto total = static_cast<std::size_t>(o.seq_len);
  if (fixed >= total) {
    throw ConfigError(
        "recall", fmt::format("{} facts and {} questions take {} tokens, and a sequence has {}; lengthen it, "
                              "or measure no recall",
                              o.facts, o.questions, fixed, total));
  }
  const std::size_t filler = total - fixed;
  std::size_t next = random.below(text.size() > filler ? text.size() - filler : text.size());
  std::vector<std::size_t> places(count);  // filler tokens before each fact
  for (std::size_t& place : places) place = random.below(filler + 1);
  std::sort(places.begin(), places.end());

  RecallSequence sequence;
  TokenIds& ids = sequence.ids;
  ids.reserve(total);
  if (bos) ids.push_back(*bos);
  for (std::size_t written = 0, fact = 0; written < filler || fact < count;) {
    if (fact < count && places[fact] == written) {
      append(ids, facts[fact++].line);
    } else {
      ids.push_back(text[next++ % text.size()]);
      ++written;
    }
  }
  for (const std::uint64_t i : asked) {
    const auto [begin, end] = facts[i].answer;
    sequence.answers.push_back({ids.size() + begin, ids.size() + end});
    append(ids, facts[i].question);
  }
  return sequence;
}

}  // namespace

std::vector<RecallSequence> make_recall_sequences(const Tokenizer& tokenizer,
                                                  std::span<const std::uint32_t> text,
                                                  std::optional<std::uint32_t> bos, const RecallOptions& o) {
  if (o.sequences < 0)
    throw ConfigError("recall", fmt::format("{} sequences asked for; it is 0 or more", o.sequences));
  if (o.facts < 1 || static_cast<std::uint64_t>(o.facts) > kNames) {
    throw ConfigError("recall", fmt::format("{} facts asked for; it is from 1 to {}", o.facts, kNames));
  }
  if (o.questions < 1 || o.questions > o.facts) {
    throw ConfigError(
        "recall", fmt::format("{} questions asked for; it is from 1 to the {} facts", o.questions, o.facts));
  }
  if (o.sequences == 0) return {};
  if (text.empty()) throw ConfigError("recall", "the text has no tokens to hide facts in");
  SplitMix64 random(o.seed);
  std::vector<RecallSequence> sequences;
  for (int i = 0; i < o.sequences; ++i) sequences.push_back(make_sequence(tokenizer, text, bos, o, random));
  return sequences;
}

}  // namespace veloxquant
