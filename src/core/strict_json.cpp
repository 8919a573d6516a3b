#include "core/strict_json.hpp"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "core/quote.hpp"
#include "core/utf8.hpp"

namespace veloxquant {
namespace {

using nlohmann::json;
using Refuse = std::function<void(const std::string&)>;

// Goes over the text before a tree is built. The library's own callback would do in one pass, but with one every
// object's end searches all of the list that holds it.
class StrictCheck final : public nlohmann::json_sax<json> {
 public:
  explicit StrictCheck(const Refuse& refuse) : refuse_(refuse) {}
  bool null() override { return count(); }
  bool boolean(bool) override { return count(); }
  bool number_integer(number_integer_t) override { return count(); }
  bool number_unsigned(number_unsigned_t) override { return count(); }
  bool number_float(number_float_t, const string_t&) override { return count(); }
  bool string(string_t&) override { return count(); }
  bool binary(binary_t&) override { return false; }  // not part of JSON text
  bool start_object(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!names_.back().insert(name).second) refuse_(fmt::format("names {} twice in one object", quote(name)));
    return true;
  }
  // The parser that builds the tree comes upon it again and says what it is.
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  bool count() {
    if (++values_ > kMostJsonValues) refuse_(fmt::format("holds more than {} values", kMostJsonValues));
    return true;
  }
  bool open() {
    if (names_.size() >= kDeepestJson) refuse_(fmt::format("nests deeper than {} levels", kDeepestJson));
    names_.emplace_back();
    return count();
  }
  bool close() {
    names_.pop_back();
    return true;
  }

  const Refuse& refuse_;
  std::size_t values_ = 0;
  std::vector<std::unordered_set<std::string>> names_;  // of the open objects; none for a list
};

}  // namespace

json parse_strict_json(std::string_view text, const Refuse& refuse) {
  StrictCheck check(refuse);
  json::sax_parse(text.begin(), text.end(), &check);
  try {
    return json::parse(text.begin(), text.end());
  } catch (const json::exception& error) {
    refuse("is not JSON: " + quote(error.what()));
    throw;
  }
}

std::string shown_json(const json& value) {
  constexpr std::size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= kLongest) return text;
  const auto head = std::string_view(text).substr(0, kLongest);
  return std::string(head.substr(0, well_formed_prefix(head))) + "...";
}

}  // namespace veloxquant
