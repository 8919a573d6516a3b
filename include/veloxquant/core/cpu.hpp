// The CPU level: which set of vector instructions the kernels use.
//
// The best level that the CPU serves is chosen on first use. The environment variable VELOXQUANT_CPU pins a
// lower one by name, and so does set_cpu_level(). A name that is not available is an UnsupportedError from the first
// function that would run a kernel or asks for the level. Codes are the same at every level; attention results agree
// within float rounding.
#pragma once

#include <string>
#include <vector>

namespace veloxquant {

// Name of the level in use: "AVX3_DL" (AVX-512 with VBMI and VNNI), "AVX3", "AVX2", "SSE4", "SSSE3", "SVE2",
// ..., "NEON_DOT" (NEON with dot products of bytes), "NEON", ...
std::string cpu_level();
// The levels that this build has and this CPU serves, best first.
std::vector<std::string> available_cpu_levels();
// Pins a level for the whole process; throws UnsupportedError listing the available ones. An empty name goes
// back to the best. Not to be called while kernels run.
void set_cpu_level(const std::string& name);
// Marketing name of the CPU, for reports.
std::string cpu_name();

}  // namespace veloxquant
