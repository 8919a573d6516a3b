// Whether bytes from a file can be codes: the only ones that stand for no finite number are those of floats
// (codes of kind f32 to fp8, scales) and gains beyond their table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <veloxquant/quantizers/code_spec.hpp>

namespace veloxquant {

// The place of the first element among the codes, or among the scales, of vectors of one code that no
// encoder writes; bytes.size() when there is none.
std::size_t first_bad_code(const CodeSpec& spec, std::span<const std::uint8_t> codes);
std::size_t first_bad_scale(const CodeSpec& spec, std::span<const std::uint8_t> scales);
std::size_t first_bad_gain(std::span<const std::uint8_t> gains);

}  // namespace veloxquant
