// The blocks of a report that say on what model and on which text it was measured.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant::cli {

// Name, family and shape of the model, the element type of its weights, its fingerprint.
nlohmann::ordered_json model_facts(const std::filesystem::path& folder, const Decoder& decoder);
// XXH3 of the bytes, 16 hexadecimal digits.
std::string text_hash(std::string_view text);

}  // namespace veloxquant::cli
