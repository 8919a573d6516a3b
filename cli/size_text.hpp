// Sizes as people write them: "8G", "512MiB", "1.5 GB" in, "8.00 GiB" out. All units are powers of 1024.
#pragma once

#include <cstdint>
#include <string>

namespace veloxquant::cli {

// More bytes than any machine has, and few enough to add.
inline constexpr double kLargestSize = 0x1p60;

// Throws ConfigError for anything that is not a number with an optional K, M, G or T, of 1 byte to
// kLargestSize.
std::uint64_t parse_size(const std::string& text);
std::string format_size(double bytes);

}  // namespace veloxquant::cli
