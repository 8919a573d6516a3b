#include "size_text.hpp"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"

namespace veloxquant::cli {

std::uint64_t parse_size(const std::string& text) {
  double value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit;
  for (const char* c = rest; c != text.data() + text.size(); ++c) {
    if (*c != ' ') unit += static_cast<char>(std::toupper(static_cast<unsigned char>(*c)));
  }
  if (unit.ends_with("IB"))
    unit.resize(unit.size() - 2);
  else if (unit.ends_with("B"))
    unit.resize(unit.size() - 1);
  static constexpr std::string_view kUnits = "KMGT";
  const std::size_t power = unit.empty() ? 0 : unit.size() == 1 ? kUnits.find(unit[0]) + 1 : 0;
  const double bytes = value * std::pow(1024.0, static_cast<double>(power));
  if (error != std::errc() || !(bytes >= 1) || !(bytes <= kLargestSize) || (!unit.empty() && power == 0)) {
    throw ConfigError("size",
                      fmt::format("{} is no size from 1 byte to 2^60; write a number with K, M, G or T, for "
                                  "example 8G",
                                  quote(text)));
  }
  return static_cast<std::uint64_t>(bytes);
}

std::string format_size(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.2f} {}", bytes, kUnits[unit]);
}

}  // namespace veloxquant::cli
