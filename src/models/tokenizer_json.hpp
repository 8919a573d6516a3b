// Strict JSON for tokenizer files: limited depth, no name twice, and getters whose errors say which field it
// was.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace veloxquant::tokenizing {

using Json = nlohmann::json;

// Throws ModelError when `text` is not JSON, names something twice or nests too deep.
Json parse_strict(std::string_view text);

[[noreturn]] void refuse_damaged(const std::string& what);      // ModelError
[[noreturn]] void refuse_unsupported(const std::string& what);  // UnsupportedError

// A value for a message: its JSON, cut to a readable length.
std::string shown(const Json& value);
std::string shown(std::string_view text);

// The member, or nullptr when it is missing or null. `where` names `object`, which must be one.
const Json* member(const Json& object, const char* name, const std::string& where);
// The same, where the member must be there.
const Json& required(const Json& object, const char* name, const std::string& where);

const std::string& text_of(const Json& value, const std::string& where);
bool flag_of(const Json& value, const std::string& where);
const Json& array_of(const Json& value, const std::string& where);
std::uint32_t id_of(const Json& value, const std::string& where);  // below kIdLimit

// The member "type" of a component.
const std::string& type_of(const Json& component, const std::string& where);
// A flag of a component; `otherwise` when it is missing.
bool flag_or(const Json& object, const char* name, bool otherwise, const std::string& where);

}  // namespace veloxquant::tokenizing
