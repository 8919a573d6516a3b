// f32, f16, bf16 and fp8_e4m3: every coordinate is rounded to the nearest value of the format.
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

#include "codebook/row_code.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

f16 narrow(float x, f16) { return to_f16(x); }
bf16 narrow(float x, bf16) { return to_bf16(x); }
fp8_e4m3 narrow(float x, fp8_e4m3) { return to_fp8_e4m3(x); }

// The first magnitude that rounds beyond the largest finite value. A tie goes to the even neighbour, which is
// infinity for f16 and bf16 and the largest value for fp8_e4m3.
bool fits(float x, f16) { return std::fabs(x) < 65520.0f; }
bool fits(float x, bf16) { return std::fabs(x) < 0x1.ffp127f; }
bool fits(float x, fp8_e4m3) { return std::fabs(x) <= 464.0f; }

template <class T>
class NarrowCode final : public RowCode {
 public:
  NarrowCode(CodeKind kind, int head_dim, float largest)
      : RowCode({kind, 8 * static_cast<int>(sizeof(T)), head_dim, 0, nullptr}), largest_(largest) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* /*scales*/) const override {
    for (int c = 0; c < spec_.head_dim; ++c) {
      if (!fits(x[c], T{})) refuse(x[c], c);
      const T value = narrow(x[c], T{});
      std::memcpy(codes + static_cast<std::size_t>(c) * sizeof(T), &value, sizeof(T));
    }
  }

 private:
  [[noreturn]] void refuse(float value, int c) const {
    throw NumericError("encode",
                       fmt::format("coordinate {} is {:g}, but {} holds at most {:g}; scale the input down "
                                   "or use a wider code",
                                   c, value, to_string(spec_.kind), largest_));
  }
  float largest_;
};

class ExactCode final : public RowCode {
 public:
  explicit ExactCode(int head_dim) : RowCode({CodeKind::f32, 32, head_dim, 0, nullptr}) {}
  void encode(const float* x, std::uint8_t* codes, std::uint8_t* /*scales*/) const override {
    std::memcpy(codes, x, spec_.code_bytes());
  }
};

}  // namespace

std::unique_ptr<RowCode> make_float_code(CodeKind kind, int head_dim) {
  require_head_dim(head_dim, "float code");
  switch (kind) {
    case CodeKind::f32:
      return std::make_unique<ExactCode>(head_dim);
    case CodeKind::f16:
      return std::make_unique<NarrowCode<f16>>(kind, head_dim, 65504.0f);
    case CodeKind::bf16:
      return std::make_unique<NarrowCode<bf16>>(kind, head_dim, 0x1.fep127f);
    case CodeKind::fp8_e4m3:
      return std::make_unique<NarrowCode<fp8_e4m3>>(kind, head_dim, 448.0f);
    default:
      throw ConfigError("float code",
                        fmt::format("{} is not a floating-point code; these are f32, f16, bf16 and "
                                    "fp8_e4m3",
                                    to_string(kind)));
  }
}

}  // namespace veloxquant
