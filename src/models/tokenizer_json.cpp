#include "models/tokenizer_json.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "core/strict_json.hpp"
#include "core/utf8.hpp"
#include "models/tokenizer_file.hpp"

namespace veloxquant::tokenizing {
namespace {

constexpr std::size_t kMaxShownBytes = 80;

}  // namespace

void refuse_damaged(const std::string& what) { throw ModelError("tokenizer", what); }
void refuse_unsupported(const std::string& what) { throw UnsupportedError("tokenizer", what); }

Json parse_strict(std::string_view text) { return parse_strict_json(text, refuse_damaged); }

std::string shown(std::string_view text) {
  if (text.size() <= kMaxShownBytes) return std::string(text);
  const auto head = text.substr(0, kMaxShownBytes);
  return std::string(head.substr(0, well_formed_prefix(head))) + "...";
}

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";  // a vocabulary has megabytes
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  return shown_json(value);
}

const Json* member(const Json& object, const char* name, const std::string& where) {
  if (!object.is_object()) refuse_damaged(fmt::format("{} is {}, not an object", where, shown(object)));
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json& required(const Json& object, const char* name, const std::string& where) {
  const Json* found = member(object, name, where);
  if (found == nullptr) refuse_damaged(fmt::format("{} has no \"{}\"", where, name));
  return *found;
}

const std::string& text_of(const Json& value, const std::string& where) {
  if (!value.is_string()) refuse_damaged(fmt::format("{} is {}, not a string", where, shown(value)));
  return value.get_ref<const std::string&>();
}

bool flag_of(const Json& value, const std::string& where) {
  if (!value.is_boolean()) refuse_damaged(fmt::format("{} is {}, not true or false", where, shown(value)));
  return value.get<bool>();
}

const Json& array_of(const Json& value, const std::string& where) {
  if (!value.is_array()) refuse_damaged(fmt::format("{} is {}, not an array", where, shown(value)));
  return value;
}

std::uint32_t id_of(const Json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= kIdLimit) {
    refuse_damaged(fmt::format("{} is {}, not an id from 0 to {}", where, shown(value), kIdLimit - 1));
  }
  return value.get<std::uint32_t>();
}

const std::string& type_of(const Json& component, const std::string& where) {
  return text_of(required(component, "type", where), where + ".type");
}

bool flag_or(const Json& object, const char* name, bool otherwise, const std::string& where) {
  const Json* found = member(object, name, where);
  return found == nullptr ? otherwise : flag_of(*found, where + "." + name);
}

}  // namespace veloxquant::tokenizing
