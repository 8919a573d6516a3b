// UniformCodebook: 2^bits equally spaced values (i - (2^bits - 1) / 2) * step around zero ("mid-rise").
//
// The step is the one of least mean squared error for the standard normal: 1.596 .9957 .5860 .3352 .1881
// .1041 .0569 .0308 at 1 to 8 bits (Max 1960). Values beyond the outermost centroids go to these.
#pragma once

#include <veloxquant/codebook/scalar_codebook.hpp>

namespace veloxquant {

class UniformCodebook final : public ScalarCodebook {
 public:
  // bits 1..8. Throws ConfigError.
  explicit UniformCodebook(int bits);
  float step() const noexcept { return centroids()[1] - centroids()[0]; }
};

}  // namespace veloxquant
