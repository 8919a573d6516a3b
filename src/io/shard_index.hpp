// model.safetensors.index.json: which file of a sharded model holds which tensor.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <veloxquant/io/safetensors.hpp>

namespace veloxquant::io {

// Tensor names to shard files, which are plain file names. `file` stands in messages. Throws ModelError.
std::map<std::string, std::string> read_shard_index(std::string_view text, const std::string& file,
                                                    const SafetensorsLimits& limits);

}  // namespace veloxquant::io
