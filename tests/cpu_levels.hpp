// Tests on every CPU level that this machine has.
#pragma once

#include <string>
#include <veloxquant/core/cpu.hpp>

namespace veloxquant::test {

// Pins each CPU level in turn.
template <class Body>
void on_every_cpu_level(const Body& body) {
  for (const std::string& level : available_cpu_levels()) {
    set_cpu_level(level);
    body(level);
  }
  set_cpu_level("");
}

}  // namespace veloxquant::test
