// Numbers of things in messages.
#pragma once

#include <fmt/format.h>

#include <string>
#include <type_traits>

namespace veloxquant {

// "1 window", "2 windows"; for nouns whose plural takes an s.
template <class Number>
  requires std::is_arithmetic_v<Number>
std::string counted(Number count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == Number{1} ? "" : "s");
}

}  // namespace veloxquant
