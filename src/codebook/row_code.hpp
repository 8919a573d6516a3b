// RowCode: the code stage of a method: rows of floats to packed bytes and back, in the space of the codes.
//
// These scalar functions are the definition of each code (CodeSpec draws the bytes). Encoding runs in a fixed
// order of operations; decoding here is the reference that the attention kernels are tested against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <veloxquant/core/registry.hpp>
#include <veloxquant/quantizers/code_spec.hpp>

namespace veloxquant {

class RowCode {
 public:
  virtual ~RowCode() = default;
  const CodeSpec& spec() const noexcept { return spec_; }
  // One vector of spec().head_dim finite coordinates. Throws NumericError when a value or a scale leaves the
  // range of its format.
  virtual void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const = 0;
  // The same for `count` vectors, one after the other.
  virtual void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                           std::uint8_t* scales) const {
    for (std::size_t i = 0; i < count; ++i, x += spec_.head_dim) {
      encode(x, codes + i * spec_.code_bytes(), scales + i * spec_.scale_bytes());
    }
  }
  // Bytes of tables.
  virtual std::size_t nbytes() const noexcept { return spec_.table ? 4 * spec_.table->size() : 0; }

 protected:
  explicit RowCode(CodeSpec spec) : spec_(std::move(spec)) {}
  CodeSpec spec_;
};

// Decodes one vector of any code from the definition.
void decode_row(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x);

std::unique_ptr<RowCode> make_float_code(CodeKind kind, int head_dim);         // f32 f16 bf16 fp8_e4m3
std::unique_ptr<RowCode> make_integer_code(int bits, int head_dim);            // q8_0 (8), q4_0 (4); group 32
std::unique_ptr<RowCode> make_affine_code(int bits, int group, int head_dim);  // as mlx-lm
std::unique_ptr<RowCode> make_scalar_code(int bits, int head_dim,
                                          ScaleMode scale);  // Lloyd-Max for the sphere
std::unique_ptr<RowCode> make_trellis_code(int bits, int head_dim, ScaleMode scale);
// Points of a uniform grid, 1 to 8 bits; throws ConfigError for the scale one.
std::unique_ptr<RowCode> make_rabitq_code(int bits, int head_dim, ScaleMode scale);

// Consecutive coordinates that get codes of one width.
struct RunPlan {
  CodeKind kind = CodeKind::scalar;  // or trellis
  int bits = 0;                      // scalar 1..8, trellis 1..4
  int count = 0;                     // scalar: at least 1; trellis: as TrellisRun has it
};

// Runs of different widths over coordinates that have variance one each (the transform in front has divided
// them by their standard deviations). `gain` stores the vector's rms, rounded to a step of 2^(1/4), and codes
// what is left. `lambda`, unless empty, says what the squared error of each coordinate counts, in the order
// of the plan (what is behind it is not read): bits that trellis codes share between neighbours then serve
// the coordinates that count more. Without runs a vector takes no bytes and decodes to nothing.
std::unique_ptr<RowCode> make_mixed_code(std::span<const RunPlan> plan, bool gain,
                                         std::span<const float> lambda = {});

// What such a code does to a standard normal coordinate z, y being the decoded one: E z y and E y^2.
struct CodedMoments {
  double along = 0, square = 0;
  // The factor of y that brings it nearest to z: its squared error is 1 - along^2 / square.
  double nearest() const noexcept { return along > 0 ? along / square : 0; }
  // The factor that makes it unbiased, E z (f y) = 1, while its error is no more than that of no code at all. A
  // coordinate that shares its width with far larger ones may keep next to nothing: then the nearest.
  double unbiased() const noexcept {
    return along > 0 && square <= 2 * along * along ? 1 / along : nearest();
  }
};
// By coordinate, measured with the same 512 vectors always.
std::vector<CodedMoments> coded_moments(std::span<const RunPlan> plan, std::span<const float> lambda = {});
// A forecast of E (z - y)^2, by coordinate, that measures nothing.
std::vector<double> distortions(std::span<const RunPlan> plan, std::span<const float> lambda = {});

}  // namespace veloxquant
