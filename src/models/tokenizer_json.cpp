#include "models/tokenizer_json.hpp"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "models/tokenizer_file.hpp"
#include "models/tokenizer_utf8.hpp"

namespace veloxquant::tokenizing {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxShownBytes = 80;

}  // namespace

void refuse_damaged(const std::string& what) { throw ModelError("tokenizer", what); }
void refuse_unsupported(const std::string& what) { throw UnsupportedError("tokenizer", what); }

Json parse_strict(std::string_view text) {
  std::vector<std::unordered_set<std::string>> names;  // of the open objects
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    switch (event) {
      case Json::parse_event_t::object_start:
        names.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth >= kMaxDepth) refuse_damaged(fmt::format("nests deeper than {} levels", kMaxDepth));
        break;
      case Json::parse_event_t::object_end:
        names.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!names.back().insert(text_of(value, "a name")).second) {
          refuse_damaged(fmt::format("names {} twice in one object", shown(value)));
        }
        break;
      default:
        break;
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::exception& error) {
    refuse_damaged(fmt::format("not a JSON text: {}", shown(std::string_view(error.what()))));
  }
}

std::string shown(std::string_view text) {
  if (text.size() <= kMaxShownBytes) return std::string(text);
  const auto head = text.substr(0, kMaxShownBytes);
  return std::string(head.substr(0, well_formed_prefix(head))) + "...";
}

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  return shown(std::string_view(value.dump()));
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
