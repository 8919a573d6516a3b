#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <veloxquant/core/error.hpp>

#include "core/utf8.hpp"
#include "models/tokenizer_pattern.hpp"

namespace veloxquant::tokenizing {
namespace {

// General categories of Unicode; scripts and other properties are named or matched differently by the two
// engines.
constexpr std::array<std::string_view, 37> kCategories = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
    "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
    "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

constexpr std::array<std::string_view, 7> kGroups = {"?:", "?i:", "?=", "?!", "?<=", "?<!", "?>"};

// Pairs of letters that one ligature or sharp s matches in Oniguruma's caseless groups, and not in PCRE2's.
constexpr std::array<std::string_view, 5> kFoldedPairs = {"ss", "ff", "fi", "fl", "st"};

class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  std::string run() {
    check_caseless_letters();
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view construct, const char* why) const {
    throw UnsupportedError("tokenizer",
                           fmt::format("the split pattern uses \"{}\" at byte {}, which is not served: {}",
                                       construct.substr(0, well_formed_prefix(construct)), at_, why));
  }

  char peek(std::size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  std::string_view shown(std::size_t length) const { return in_.substr(at_, length); }
  void copy(std::size_t length) {
    out_ += shown(length);
    at_ += length;
  }

  void check_caseless_letters() {
    if (in_.find("(?i:") == in_.npos) return;
    if (std::any_of(in_.begin(), in_.end(), [](char c) { return (c & 0x80) != 0; })) {
      refuse("(?i:", "together with characters outside ASCII");
    }
    std::string lower(in_);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const auto pair : kFoldedPairs) {
      if (lower.find(pair) != lower.npos)
        refuse(pair, "in a pattern with caseless groups it may match a ligature");
    }
  }

  void step() {
    const char c = in_[at_];
    if (c == '\\') return escape();
    if (in_class_) return class_member(c);
    switch (c) {
      case '[':
        return open_class();
      case '(':
        return open_group();
      case '{':
        return interval();
      case '^':
      case '$':
        refuse(shown(1), "anchors mean lines to one engine and the text to the other");
      default:
        copy(1);
    }
  }

  void escape() {
    const char c = peek(1);
    switch (c) {
      // Oniguruma's \s is the property White_Space; PCRE2's own also holds U+180E.
      case 's':
        return replace(R"(\p{White_Space})");
      case 'S':
        return replace(R"(\P{White_Space})");
      case 'p':
      case 'P':
        return property();
      default:
        break;
    }
    if (c == '\0' || std::string_view("dDrntf").find(c) == std::string_view::npos) {
      if (!std::ispunct(static_cast<unsigned char>(c)))
        refuse(shown(2), "the engines may disagree on this escape");
    }
    copy(2);
  }

  void replace(std::string_view with) {
    out_ += with;
    at_ += 2;
  }

  void property() {
    const std::size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == in_.npos) refuse(shown(3), "write a category as \\p{L}");
    const std::size_t length = close + 1 - at_;
    std::string_view name = in_.substr(at_ + 3, length - 4);
    if (name.starts_with('^')) name.remove_prefix(1);
    if (std::find(kCategories.begin(), kCategories.end(), name) == kCategories.end()) {
      refuse(shown(std::min<std::size_t>(length, 64)), "only Unicode's general categories are");
    }
    copy(length);
  }

  void open_class() {
    in_class_ = true;
    copy(peek(1) == '^' ? 2 : 1);
    if (peek(0) == ']') refuse("[]", "write a bracket in a set as \\]");
  }

  void class_member(char c) {
    if (c == '[') refuse("[[", "sets inside sets");
    if (c == '&' && peek(1) == '&') refuse("&&", "intersections of sets");
    in_class_ = c != ']';
    copy(1);
  }

  void open_group() {
    if (peek(1) == '*') refuse("(*", "verbs are PCRE2's alone");
    if (peek(1) != '?') return copy(1);
    for (const auto group : kGroups) {
      if (in_.substr(at_ + 1).starts_with(group)) return copy(1 + group.size());
    }
    refuse(shown(4), "this kind of group");
  }

  void interval() {
    std::size_t length = 1;
    const auto digits = [&] {
      const std::size_t begin = length;
      while (std::isdigit(static_cast<unsigned char>(peek(length)))) ++length;
      return length > begin;
    };
    bool good = digits();
    if (peek(length) == ',') {
      ++length;
      digits();
    }
    good = good && peek(length) == '}';
    const char after = peek(length + 1);
    if (!good || after == '+' || after == '?')
      refuse(shown(length + 2), "write intervals as {m}, {m,} or {m,n}");
    copy(length + 1);
  }

  std::string_view in_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string translate_pattern(std::string_view oniguruma) { return Translator(oniguruma).run(); }

}  // namespace veloxquant::tokenizing
