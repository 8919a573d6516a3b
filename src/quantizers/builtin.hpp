// The built-in methods, as the registry takes them before any other.
#pragma once

#include <string>
#include <vector>
#include <veloxquant/core/registry.hpp>

namespace veloxquant {

struct BuiltinMethod {
  std::string name;
  QuantizerMaker make;
  MethodInfo info;
};
std::vector<BuiltinMethod> builtin_methods();

}  // namespace veloxquant
