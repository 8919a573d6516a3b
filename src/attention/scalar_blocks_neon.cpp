// Scalar codes of 1 to 4 bits on NEON with dot products.
#include "attention/scalar_blocks.hpp"

#if defined(__ARM_FEATURE_DOTPROD)
#include "attention/lanes_neon.hpp"
#include "attention/scalar_bytes.hpp"

namespace veloxquant {

KeyKernel::Scores scalar_scores_neon(int bits) noexcept { return scalar_scores<NeonDot>(bits); }
ValueKernel::Add scalar_add_neon(int bits) noexcept { return scalar_add<NeonDot>(bits); }

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores scalar_scores_neon(int) noexcept { return nullptr; }
ValueKernel::Add scalar_add_neon(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
