#include "models/tokenizer_pattern.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <new>
#include <veloxquant/core/error.hpp>

namespace veloxquant::tokenizing {
namespace {

constexpr std::size_t kMaxPatternBytes = 16 * 1024;
// Steps of one match. Served patterns need a handful per character of a piece; only nested repeats come near.
constexpr std::uint32_t kMaxMatchSteps = 10'000'000;
constexpr std::uint32_t kMaxMatchKibibytes = 64 * 1024;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

std::shared_ptr<const void> compile(const std::string& pattern) {
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);  // a dot stops at \n alone, as in Oniguruma
  int error = 0;
  std::size_t where = 0;
  pcre2_code* code =
      pcre2_compile(units(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error,
                    &where, context.get());
  if (code == nullptr) {
    throw ModelError("tokenizer", fmt::format("the split pattern does not compile: {} (near byte {})",
                                              message_of(error), where));
  }
  return {code, [](const void* c) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(c))); }};
}

std::shared_ptr<const void> match_limits() {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(context, kMaxMatchSteps);
  pcre2_set_heap_limit(context, kMaxMatchKibibytes);
  return {context, [](const void* c) {
            pcre2_match_context_free(static_cast<pcre2_match_context*>(const_cast<void*>(c)));
          }};
}

const pcre2_code* code_of(const std::shared_ptr<const void>& code) {
  return static_cast<const pcre2_code*>(code.get());
}

}  // namespace

SplitPattern::SplitPattern(std::string_view oniguruma) {
  if (oniguruma.size() > kMaxPatternBytes) {
    throw UnsupportedError("tokenizer", fmt::format("the split pattern has {} bytes; at most {} are served",
                                                    oniguruma.size(), kMaxPatternBytes));
  }
  code_ = compile(translate_pattern(oniguruma));
  limits_ = match_limits();
  auto* code = static_cast<pcre2_code*>(const_cast<void*>(code_.get()));
  compiled_to_machine_code_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

SplitPattern::Pieces::Pieces(const SplitPattern& pattern, std::string_view text)
    : pattern_(pattern), text_(text), match_(pcre2_match_data_create(1, nullptr), [](void* m) {
        pcre2_match_data_free(static_cast<pcre2_match_data*>(m));
      }) {
  if (!match_) throw std::bad_alloc();
}

// The next match as Oniguruma's iterator gives it: an empty one right behind the last match does not count.
bool SplitPattern::Pieces::find_match(std::size_t& begin, std::size_t& end) {
  const auto* code = code_of(pattern_.code_);
  auto* match = static_cast<pcre2_match_data*>(match_.get());
  auto* limits = static_cast<pcre2_match_context*>(const_cast<void*>(pattern_.limits_.get()));
  while (search_ <= text_.size()) {
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (pattern_.compiled_to_machine_code_) {
      found = pcre2_jit_match(code, units(text_), text_.size(), search_, PCRE2_NO_UTF_CHECK, match, limits);
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter takes its memory from the heap
      found = pcre2_match(code, units(text_), text_.size(), search_, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match,
                          limits);
    }
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found < 0) {
      throw ModelError(
          "encode", fmt::format("the split pattern gave up at byte {} of a text of {}: {} ({} steps a match)",
                                search_, text_.size(), message_of(found), kMaxMatchSteps));
    }
    const std::size_t* range = pcre2_get_ovector_pointer(match);
    begin = range[0], end = range[1];
    if (begin != end || end != last_match_) {
      search_ = last_match_ = end;
      return true;
    }
    do {
      ++search_;
    } while (search_ < text_.size() && (text_[search_] & 0xC0) == 0x80);
  }
  return false;
}

std::string_view SplitPattern::Pieces::take(std::size_t end) {
  const std::string_view piece = text_.substr(taken_, end - taken_);
  taken_ = end;
  return piece;
}

bool SplitPattern::Pieces::next(std::string_view& piece) {
  if (pending_ > taken_) {
    piece = take(pending_);
    return true;
  }
  for (std::size_t begin = 0, end = 0; !exhausted_;) {
    if (!find_match(begin, end)) {
      exhausted_ = true;
    } else if (begin > taken_) {
      pending_ = end;
      piece = take(begin);
      return true;
    } else if (end > taken_) {
      piece = take(end);
      return true;
    }
  }
  if (taken_ == text_.size()) return false;
  piece = take(text_.size());
  return true;
}

}  // namespace veloxquant::tokenizing
