#include "io/json_events.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/quote.hpp"

namespace veloxquant::io {
namespace {

using nlohmann::json;

// Reads characters and keeps count of them where the visitor sees it.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  std::size_t* count;

  reference operator*() const { return *at; }
  CountingIterator& operator++() {
    ++at;
    ++*count;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
  bool operator!=(const CountingIterator& other) const { return at != other.at; }
};

// The library's message without its own position, which counts lines, and without the text that it quotes at
// any length.
std::string reason_in(const std::string& message) {
  const std::size_t begin = message.find("column ");
  const std::size_t colon = begin == std::string::npos ? begin : message.find(": ", begin);
  const std::size_t from = colon == std::string::npos ? 0 : colon + 2;
  constexpr std::size_t kLongest = 100;
  return message.substr(from, std::min(message.find("; last read") - from, kLongest));
}

class Adapter final : public nlohmann::json_sax<json> {
 public:
  explicit Adapter(JsonVisitor& visitor) : visitor_(visitor) {}
  bool null() override { return other("null"); }
  bool boolean(bool value) override { return other(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override {
    return other(fmt::format("the negative number {}", value));
  }
  bool number_unsigned(number_unsigned_t value) override { return visitor_.number(value), true; }
  bool number_float(number_float_t, const string_t& text) override {
    return other(fmt::format("the number {}", quote(text)));
  }
  bool string(string_t& text) override { return visitor_.string(text), true; }
  bool binary(binary_t&) override { return false; }  // not part of JSON text
  bool start_object(std::size_t) override { return visitor_.begin_object(), true; }
  bool key(string_t& text) override { return visitor_.key(text), true; }
  bool end_object() override { return visitor_.end_object(), true; }
  bool start_array(std::size_t) override { return visitor_.begin_array(), true; }
  bool end_array() override { return visitor_.end_array(), true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    return visitor_.malformed(reason_in(error.what())), false;
  }

 private:
  bool other(const std::string& found) { return visitor_.other(found), true; }

  JsonVisitor& visitor_;
};

}  // namespace

void visit_json(std::string_view text, JsonVisitor& visitor) {
  visitor.position_ = 0;
  // The library takes a NUL for the end of the text, and skips a byte order mark.
  const std::size_t nul = text.find('\0');
  if (nul != std::string_view::npos) {
    visitor.position_ = nul;
    visitor.malformed("a NUL byte");
  }
  if (text.substr(0, 3) == "\xef\xbb\xbf") visitor.malformed("a byte order mark");
  Adapter adapter(visitor);
  const char* const begin = text.data();
  json::sax_parse(CountingIterator{begin, &visitor.position_},
                  CountingIterator{begin + text.size(), &visitor.position_}, &adapter);
}

}  // namespace veloxquant::io
