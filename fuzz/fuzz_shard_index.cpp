// Any bytes as model.safetensors.index.json: a map of tensors to plain file names, or a named error.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <veloxquant/core/error.hpp>

#include "io/shard_index.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veloxquant;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto& [tensor, shard] : io::read_shard_index(text, "index", {})) {
      if (shard.empty() || shard == ".." || shard.find('/') != std::string::npos) __builtin_trap();
    }
  } catch (const ModelError&) {
  }
  return 0;
}
