// The code that runs of coordinates of equal width get in methods that spread a budget.
#pragma once

#include <cstdint>
#include <string>

namespace veloxquant {

// trellis: up to 4 bits, for which there are tables; wider runs are scalar.
enum class RunCode : std::uint8_t { scalar, trellis };
const char* to_string(RunCode code) noexcept;
RunCode run_code_from(const std::string& name);  // throws ConfigError

}  // namespace veloxquant
