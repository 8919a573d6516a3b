// Functions of kernels that must be inlined: in a file compiled for a later CPU, a copy of its own of a shared
// inline function could be linked into what runs on every CPU.
#pragma once

#define VELOXQUANT_INLINE inline __attribute__((always_inline))
