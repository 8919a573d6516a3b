// Any bytes as a safetensors file: a value or a named error, and every byte that a tensor promises is there.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veloxquant;
  try {
    const auto file = SafetensorsFile::parse(std::as_bytes(std::span(data, size)));
    std::size_t bytes = 0;
    for (const auto& entry : file.tensors()) bytes += file.tensor(entry.first).copy().nbytes();
    if (bytes > size) __builtin_trap();  // more data than the file has
    verify_seal(file);
  } catch (const ArtifactError&) {
  }
  return 0;
}

// Random bytes rarely keep the length field in step with the header. After every other mutation it is set to
// reach the last brace, so that the fuzzer gets past it.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (size < 10 || seed % 2 == 0) return size;
  const std::uint8_t* brace = data + size;
  while (brace > data + 8 && brace[-1] != '}') --brace;
  const auto length = static_cast<std::uint64_t>(brace - (data + 8));
  std::memcpy(data, &length, sizeof length);
  return size;
}
