// JSON from strangers, as a stream of events: nothing is built that the visitor does not keep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace veloxquant::io {

// Receives one call per token and ends the reading by throwing. Texts are UTF-8 that was checked, with
// escapes resolved, and may be moved from. Duplicate keys and the depth of nesting are the visitor's to
// judge.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  virtual void begin_object() = 0;
  virtual void end_object() = 0;
  virtual void begin_array() = 0;
  virtual void end_array() = 0;
  virtual void key(std::string& text) = 0;
  virtual void string(std::string& text) = 0;
  virtual void number(std::uint64_t value) = 0;
  // Any value that is none of these, in words: "null", "true", "the negative number -3", "the number 1e3".
  virtual void other(const std::string& found) = 0;
  // The text is not JSON; must throw.
  virtual void malformed(const std::string& reason) = 0;

  // Bytes of the text read so far: the end of the token of the present event, or one byte beyond it.
  std::size_t position() const noexcept { return position_; }

 private:
  friend void visit_json(std::string_view text, JsonVisitor& visitor);
  std::size_t position_ = 0;
};

// Reads `text`, which must be one JSON value and nothing after it but white space. Takes time and memory in
// proportion to the text, and no stack for its nesting.
void visit_json(std::string_view text, JsonVisitor& visitor);

}  // namespace veloxquant::io
