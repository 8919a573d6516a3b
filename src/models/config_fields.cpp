#include "models/config_fields.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <veloxquant/core/error.hpp>

#include "core/strict_json.hpp"

namespace veloxquant {
namespace {

using nlohmann::json;

std::int64_t checked_integer(const ConfigFields& fields, const char* name, const json& value,
                             std::int64_t low, std::int64_t high) {
  const std::string limit = fmt::format("it must be a whole number from {} to {}", low, high);
  if (!value.is_number_integer()) fields.refuse(name, limit);
  // An unsigned value beyond the signed range would wrap in get<int64_t>().
  const bool wraps = value.is_number_unsigned() &&
                     value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()};
  const std::int64_t number = wraps ? std::numeric_limits<std::int64_t>::max() : value.get<std::int64_t>();
  if (wraps || number < low || number > high) fields.refuse(name, limit);
  return number;
}

}  // namespace

ConfigFields::ConfigFields(const json& object, std::string path) : object_(&object), path_(std::move(path)) {}

json ConfigFields::parse_object(const std::string& text, const std::string& name) {
  const json parsed = parse_strict_json(text, [&](const std::string& what) {
    throw ModelError("load model", fmt::format("{} {}", name, what));
  });
  if (!parsed.is_object()) {
    throw ModelError("load model", fmt::format("{} must be a JSON object, not {}", name, shown_json(parsed)));
  }
  return parsed;
}

bool ConfigFields::has(const char* name) const {
  const auto found = object_->find(name);
  return found != object_->end() && !found->is_null();
}

bool ConfigFields::is_null(const char* name) const {
  const auto found = object_->find(name);
  return found != object_->end() && found->is_null();
}

const json& ConfigFields::required(const char* name) const {
  if (!has(name)) throw ModelError("load model", fmt::format("{}{} is missing", path_, name));
  return object_->at(name);
}

void ConfigFields::refuse(const char* name, const std::string& limit) const {
  throw ModelError("load model",
                   fmt::format("{}{} is {}; {}", path_, name, shown_json(required(name)), limit));
}

std::int64_t ConfigFields::integer(const char* name, std::int64_t low, std::int64_t high) const {
  return checked_integer(*this, name, required(name), low, high);
}

std::int64_t ConfigFields::integer_or(const char* name, std::int64_t low, std::int64_t high,
                                      std::int64_t missing) const {
  return has(name) ? integer(name, low, high) : missing;
}

double ConfigFields::positive(const char* name, double high) const {
  const json& value = required(name);
  const double number = value.is_number() ? value.get<double>() : 0.0;
  if (!(number > 0.0) || !(number <= high)) {
    refuse(name, fmt::format("it must be a number above 0 and at most {}", high));
  }
  return number;
}

double ConfigFields::positive_or(const char* name, double high, double missing) const {
  return has(name) ? positive(name, high) : missing;
}

bool ConfigFields::flag_or(const char* name, bool missing) const {
  if (!has(name)) return missing;
  const json& value = required(name);
  if (!value.is_boolean()) refuse(name, "it must be true or false");
  return value.get<bool>();
}

std::string ConfigFields::text_or(const char* name, const std::string& missing) const {
  if (!has(name)) return missing;
  const json& value = required(name);
  if (!value.is_string()) refuse(name, "it must be a text");
  return value.get<std::string>();
}

std::vector<std::string> ConfigFields::texts(const char* name) const {
  const json& list = required(name);
  std::vector<std::string> result;
  if (!list.is_array()) refuse(name, "it must be a list of texts");
  for (const json& value : list) {
    if (!value.is_string()) refuse(name, "it must be a list of texts");
    result.push_back(value.get<std::string>());
  }
  return result;
}

std::vector<std::uint32_t> ConfigFields::token_ids(const char* name, std::int64_t vocab) const {
  std::vector<std::uint32_t> result;
  if (!has(name)) return result;
  const json& value = required(name);
  const json list = value.is_array() ? value : json::array({value});
  for (const json& id : list) {
    result.push_back(static_cast<std::uint32_t>(checked_integer(*this, name, id, 0, vocab - 1)));
  }
  return result;
}

ConfigFields ConfigFields::object(const char* name) const {
  const json& value = required(name);
  if (!value.is_object()) refuse(name, "it must be an object");
  return ConfigFields(value, path_ + name + ".");
}

}  // namespace veloxquant
