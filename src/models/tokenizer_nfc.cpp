#include "models/tokenizer_nfc.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/utf8.hpp"
#include "models/tokenizer_nfc_table.hpp"
#include "models/tokenizer_tables.hpp"

namespace veloxquant::tokenizing {
namespace {

// Hangul syllables are composed by arithmetic: leading consonant x vowel x optional trailing consonant.
constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTrails = 0x11A7;
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTrailCount = 28;

// Characters below U+0300 are their own NFC and never join what stands before them.
constexpr std::uint8_t kFirstLeadByteToLookAt = 0xCC;

std::uint64_t pair_of(char32_t first, char32_t second) { return std::uint64_t{first} << 32 | second; }

struct Tables {
  PairMap decompositions;  // composite -> first, second
  PairMap composites;      // first, second -> composite

  Tables() {
    const auto composing = composing_decompositions();
    const auto one_way = one_way_decompositions();
    decompositions.reserve(composing.size() + one_way.size());
    composites.reserve(composing.size());
    for (const auto& row : composing) {
      decompositions.insert(row.composite, pair_of(row.first, row.second));
      composites.insert(pair_of(row.first, row.second), row.composite);
    }
    for (const auto& row : one_way) decompositions.insert(row.composite, pair_of(row.first, row.second));
  }
};

const Tables& tables() {
  static const Tables instance;
  return instance;
}

std::uint8_t combining_class(char32_t c) {
  const auto ranges = combining_ranges();
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t value, const CombiningRange& r) { return value < r.first; });
  if (after == ranges.begin()) return 0;
  const CombiningRange& range = *(after - 1);
  return c <= range.last ? static_cast<std::uint8_t>(range.combining_class) : std::uint8_t{0};
}

struct Mark {
  char32_t code_point;
  std::uint8_t combining_class;
  std::size_t place = 0;  // in the decomposed text
};

void decompose(char32_t c, std::vector<Mark>& out) {
  if (c - kSyllables < kLeadCount * kVowelCount * kTrailCount) {
    const char32_t index = c - kSyllables;
    out.push_back({kLeads + index / (kVowelCount * kTrailCount), 0});
    out.push_back({kVowels + index / kTrailCount % kVowelCount, 0});
    if (index % kTrailCount != 0) out.push_back({kTrails + index % kTrailCount, 0});
    return;
  }
  if (const std::uint64_t* parts = tables().decompositions.find(c)) {
    decompose(static_cast<char32_t>(*parts >> 32), out);
    if (const auto second = static_cast<char32_t>(*parts)) decompose(second, out);
    return;
  }
  out.push_back({c, combining_class(c)});
}

// Marks between two starters are sorted by class; equal classes keep their order.
void reorder(std::vector<Mark>& marks) {
  for (std::size_t i = 0; i < marks.size(); ++i) marks[i].place = i;
  const auto is_starter = [](const Mark& mark) { return mark.combining_class == 0; };
  const auto comes_before = [](const Mark& a, const Mark& b) {
    return std::pair(a.combining_class, a.place) < std::pair(b.combining_class, b.place);
  };
  for (auto begin = marks.begin(); begin != marks.end();) {
    begin = std::find_if_not(begin, marks.end(), is_starter);
    const auto end = std::find_if(begin, marks.end(), is_starter);
    std::sort(begin, end, comes_before);
    begin = end;
  }
}

// The composite of two characters, or 0.
char32_t composite_of(char32_t first, char32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount) {
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTrailCount;
  }
  const char32_t syllable = first - kSyllables;
  if (syllable < kLeadCount * kVowelCount * kTrailCount && syllable % kTrailCount == 0 && second > kTrails &&
      second < kTrails + kTrailCount) {
    return first + (second - kTrails);
  }
  const std::uint64_t* composite = tables().composites.find(pair_of(first, second));
  return composite ? static_cast<char32_t>(*composite) : 0;
}

// Joins each mark with the last starter unless a mark between them blocks it (class 0, or not lower).
void compose(std::vector<Mark>& marks) {
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::size_t starter = kNone, kept = 0;
  for (const Mark mark : marks) {
    const bool adjacent = starter != kNone && kept == starter + 1;
    const bool open =
        adjacent || (starter != kNone && marks[kept - 1].combining_class < mark.combining_class);
    if (open) {
      if (const char32_t composite = composite_of(marks[starter].code_point, mark.code_point)) {
        marks[starter].code_point = composite;
        continue;
      }
    }
    if (mark.combining_class == 0) starter = kept;
    marks[kept++] = mark;
  }
  marks.resize(kept);
}

void append_nfc_of_run(std::string& out, std::string_view run, std::vector<Mark>& marks) {
  marks.clear();
  for (std::size_t at = 0; at < run.size();) decompose(next_code_point(run, at), marks);
  reorder(marks);
  compose(marks);
  for (const Mark& mark : marks) append_code_point(out, mark.code_point);
}

}  // namespace

std::string to_nfc(std::string_view text) {
  const auto may_change = [](char c) { return static_cast<std::uint8_t>(c) >= kFirstLeadByteToLookAt; };
  // A run is what may change, with the one character before it that may be joined with its first mark.
  const auto is_low_lead = [&](char c) { return !may_change(c) && (c & 0xC0) != 0x80; };
  std::string out;
  out.reserve(text.size());
  std::vector<Mark> marks;
  for (auto done = text.begin(); done != text.end();) {
    auto begin = std::find_if(done, text.end(), may_change);
    const auto end = std::find_if(begin, text.end(), is_low_lead);
    while (begin != text.end() && begin != done && !is_low_lead(*--begin)) {
    }
    out.append(done, begin);
    append_nfc_of_run(out, {begin, end}, marks);
    done = end;
  }
  return out;
}

}  // namespace veloxquant::tokenizing
