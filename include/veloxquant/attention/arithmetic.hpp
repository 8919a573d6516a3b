// AttentionArithmetic of attention on packed codes.
//
// `fast`: where the CPU level has integer kernels for a code, decoding rounds queries, tables and weights to
// 8 bits; the squared error this adds to the output is at most 2 % of what the code itself loses (tests hold
// it to that). `precise`: fp32 throughout. The environment variable VELOXQUANT_ARITHMETIC chooses, and so
// does set_attention_arithmetic().
#pragma once

#include <cstdint>
#include <string>

namespace veloxquant {

enum class AttentionArithmetic : std::uint8_t { fast, precise };
const char* to_string(AttentionArithmetic arithmetic) noexcept;

// The arithmetic in use. Throws ConfigError when the environment names another than "fast" or "precise".
AttentionArithmetic attention_arithmetic();
// For the whole process. Not to be called while kernels run.
void set_attention_arithmetic(AttentionArithmetic arithmetic);

}  // namespace veloxquant
