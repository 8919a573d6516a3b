#include "text_layout.hpp"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace veloxquant::cli {
namespace {

// Levenshtein's: letters put in, left out or exchanged.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t exchanged = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({exchanged, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string in_lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// turbo_mse of turboquant_mse: every part begins one of the candidate's, in this order.
bool has_parts_of(const std::string& candidate, const std::string& word) {
  std::size_t from = 0;
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = std::min(word.find('_', begin), word.size());
    const std::size_t at = ("_" + candidate).find("_" + word.substr(begin, end - begin), from);
    if (at == std::string::npos) return false;
    from = at + 1;
    begin = end + 1;
  }
  return true;
}

}  // namespace

std::string wrapped(const std::string& text, std::size_t indent, std::size_t line_width) {
  std::string result;
  std::size_t used = indent;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (used > indent && used + 1 + (end - begin) > line_width) {
      result += "\n" + std::string(indent, ' ');
      used = indent;
    } else if (used > indent) {
      result += ' ';
      ++used;
    }
    result += text.substr(begin, end - begin);
    used += end - begin;
    begin = end + 1;
  }
  return result;
}

std::optional<std::string> nearest(const std::string& written, std::span<const std::string> known) {
  const std::string word = in_lower_case(written);
  constexpr std::size_t kLongest = 64;  // no known word is longer
  if (word.empty() || word.size() > kLongest) return std::nullopt;
  std::optional<std::string> best;
  std::size_t least = 2 + word.size() / 4;
  for (const std::string& candidate : known) {
    if (word.size() >= 3 && (candidate.starts_with(word) || has_parts_of(candidate, word))) return candidate;
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < least) least = distance, best = candidate;
  }
  return best;
}

}  // namespace veloxquant::cli
