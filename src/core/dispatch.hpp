// The one door through which kernels are called.
//
// VELOX_DISPATCH(kernel)(arguments...) calls the kernel that HWY_EXPORT(kernel) compiled for the CPU level in use,
// after VELOXQUANT_CPU has been obeyed. Without it a level pinned by the environment would hold for some kernels
// and not for those called before the first question about the level.
#pragma once

namespace veloxquant {

// Obeys VELOXQUANT_CPU; from the second call on it only looks at a flag. Throws UnsupportedError for a level that
// this CPU does not have, and goes on to throw it.
void obey_cpu_environment();

// Whether kernels at the level in use may multiply bytes with Arm's dot products (Armv8.2), which Highway has
// no target for: with the level NEON they may not, with those above it where the CPU has them.
bool level_has_dot_products();

}  // namespace veloxquant

#define VELOX_DISPATCH(kernel) (::veloxquant::obey_cpu_environment(), HWY_DYNAMIC_DISPATCH(kernel))
