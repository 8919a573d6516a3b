// ConfigFields: a JSON object read field by field, each with its range; every refusal names the field and its
// value.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace veloxquant {

class ConfigFields {
 public:
  // `path` is what stands before a field's name in messages: "config.json: " or "config.json: rope_scaling.".
  ConfigFields(const nlohmann::json& object, std::string path);
  // The text of a file, which must be one JSON object of unique keys.
  static nlohmann::json parse_object(const std::string& text, const std::string& name);

  // Fields that are absent and fields that are null count as missing.
  bool has(const char* name) const;
  bool is_null(const char* name) const;  // there, and null

  std::int64_t integer(const char* name, std::int64_t low, std::int64_t high) const;
  std::int64_t integer_or(const char* name, std::int64_t low, std::int64_t high, std::int64_t missing) const;
  // Finite and above 0, at most `high`.
  double positive(const char* name, double high) const;
  double positive_or(const char* name, double high, double missing) const;
  bool flag_or(const char* name, bool missing) const;
  std::string text_or(const char* name, const std::string& missing) const;
  std::vector<std::string> texts(const char* name) const;
  // A number or a list of numbers, as token ids are written; empty when missing.
  std::vector<std::uint32_t> token_ids(const char* name, std::int64_t vocab) const;
  ConfigFields object(const char* name) const;

  // Throws ModelError: "<path><name> is <value>; <limit>".
  [[noreturn]] void refuse(const char* name, const std::string& limit) const;

 private:
  const nlohmann::json& required(const char* name) const;

  const nlohmann::json* object_;
  std::string path_;
};

}  // namespace veloxquant
