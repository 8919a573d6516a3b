// Sizes as people write them: "8G", "512MiB", "1.5 GB" in, "8.00 GiB" out. All units are powers of 1024.
#pragma once

#include <cstdint>
#include <string>

namespace veloxquant::cli {

// Throws ConfigError for anything that is not a positive number with an optional K, M, G or T.
std::uint64_t parse_size(const std::string& text);
std::string format_size(double bytes);

}  // namespace veloxquant::cli
