// What reports say of the model and the text that was measured.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <veloxquant/io/sharded_safetensors.hpp>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant::cli {

// "bf16", or "bf16, f32" when a model mixes them.
std::string weight_types(const ShardedSafetensors& file);
// Family and shape of a model.
nlohmann::ordered_json shape_facts(const ModelConfig& config);
// Name, family and shape of the model, the element type of its weights, its fingerprint.
nlohmann::ordered_json model_facts(const std::filesystem::path& folder, const Decoder& decoder);
// XXH3 of the bytes, 16 hexadecimal digits.
std::string text_hash(std::string_view text);

}  // namespace veloxquant::cli
