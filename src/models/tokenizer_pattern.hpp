// Split patterns: Oniguruma regular expressions from tokenizer files, run by PCRE2.
//
// The two dialects differ in quiet ways (\h is a hex digit to one and a blank to the other, {2}+ repeats or
// is possessive, ^ means line or text). A pattern is therefore translated from a list of constructs whose
// meaning is the same in both, or can be made so; any other is refused by name.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace veloxquant::tokenizing {

// The PCRE2 form of an Oniguruma pattern. Throws UnsupportedError naming a construct that is not served.
std::string translate_pattern(std::string_view oniguruma);

class SplitPattern {
 public:
  // Translates and compiles. Throws UnsupportedError as above, ModelError when it is not a regular
  // expression.
  explicit SplitPattern(std::string_view oniguruma);

  // Walks over the pieces of one text: the matches and what lies between them, each alone ("Isolated").
  class Pieces {
   public:
    // `text` is well-formed UTF-8; it and the pattern outlive the walk.
    Pieces(const SplitPattern& pattern, std::string_view text);
    // False after the last piece. Throws ModelError when a match takes more than the step limit.
    bool next(std::string_view& piece);

   private:
    bool find_match(std::size_t& begin, std::size_t& end);
    std::string_view take(std::size_t end);

    const SplitPattern& pattern_;
    std::string_view text_;
    std::shared_ptr<void> match_;
    std::size_t taken_ = 0;          // end of the last piece
    std::size_t pending_ = 0;        // end of a match whose preceding gap was taken first
    std::size_t search_ = 0;         // where the next match is looked for
    std::size_t last_match_ = npos;  // end of the last match
    bool exhausted_ = false;
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
  };

 private:
  std::shared_ptr<const void> code_, limits_;
  bool compiled_to_machine_code_ = false;
};

}  // namespace veloxquant::tokenizing
