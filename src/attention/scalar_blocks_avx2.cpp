// Scalar codes of 1 to 4 bits on AVX2.
#include "attention/scalar_blocks.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include "attention/lanes_avx2.hpp"
#include "attention/scalar_bytes.hpp"

namespace veloxquant {

KeyKernel::Scores scalar_scores_avx2(int bits) noexcept { return scalar_scores<Avx2>(bits); }
ValueKernel::Add scalar_add_avx2(int bits) noexcept { return scalar_add<Avx2>(bits); }

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores scalar_scores_avx2(int) noexcept { return nullptr; }
ValueKernel::Add scalar_add_avx2(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
