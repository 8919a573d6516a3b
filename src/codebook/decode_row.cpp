// The value of every coordinate, written from CodeSpec's table of byte meanings.
#include <cstring>

#include <veloxquant/core/half.hpp>

#include "codebook/product_table.hpp"
#include "codebook/row_code.hpp"
#include "pack/bits.hpp"

namespace veloxquant {
namespace {

template <class T>
T load(const std::uint8_t* bytes, int index) {
  T value;
  std::memcpy(&value, bytes + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

template <class T>
void decode_floats(int head_dim, const std::uint8_t* codes, float* x) {
  for (int c = 0; c < head_dim; ++c) x[c] = to_f32(load<T>(codes, c));
}

unsigned code_at(const CodeSpec& spec, const std::uint8_t* codes, int c) {
  return read_bits(codes, static_cast<std::size_t>(c) * static_cast<std::size_t>(spec.bits), spec.bits);
}

float scale_at(const std::uint8_t* scales, int index) { return to_f32(load<f16>(scales, index)); }

void decode_integer(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  for (int begin = 0; begin < spec.head_dim; begin += spec.group) {
    const float scale = scale_at(scales, begin / spec.group);
    for (int c = begin; c < begin + spec.group; ++c) {
      const unsigned u = code_at(spec, codes, c);
      const int q = spec.bits == 8 ? static_cast<std::int8_t>(u) : static_cast<int>(u) - 8;
      x[c] = scale * static_cast<float>(q);
    }
  }
}

void decode_affine(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  const int groups = spec.head_dim / spec.group;
  for (int g = 0; g < groups; ++g) {
    const float scale = scale_at(scales, g), bias = scale_at(scales, groups + g);
    for (int c = g * spec.group; c < (g + 1) * spec.group; ++c)
      x[c] = scale * static_cast<float>(code_at(spec, codes, c)) + bias;
  }
}

float vector_scale_at(const CodeSpec& spec, const std::uint8_t* scales) {
  switch (spec.vector_scale) {
    case VectorScale::none:
      return 1;
    case VectorScale::gain:
      return gain_value(scales[0] % kGainSteps);
    default:
      return scale_at(scales, 0);
  }
}

void decode_scalar(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  const float scale = vector_scale_at(spec, scales);
  for (int c = 0; c < spec.head_dim; ++c) x[c] = scale * (*spec.table)[code_at(spec, codes, c)];
}

void decode_trellis(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  const float scale = vector_scale_at(spec, scales);
  const std::size_t bits = static_cast<std::size_t>(spec.bits),
                    total = bits * static_cast<std::size_t>(spec.head_dim);
  for (int c = 0; c < spec.head_dim; ++c)
    x[c] = scale * (*spec.table)[read_continued_bits(codes, bits * static_cast<std::size_t>(c), 8, total,
                                                     codes + spec.behind.offset)];
}

void decode_mixed(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  const float scale = vector_scale_at(spec, scales);
  for (std::size_t i = 0; i < spec.runs.size(); ++i) {
    const CodeSpec run = spec.of_run(i);
    decode_row(run, codes, nullptr, x);
    for (int c = 0; c < run.head_dim; ++c) x[c] *= scale;
    codes += run.code_bytes();
    x += run.head_dim;
  }
}

void decode_product(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  const float scale = vector_scale_at(spec, scales);
  const auto dims = static_cast<std::size_t>(spec.group),
             parts = static_cast<std::size_t>(spec.head_dim) / dims;
  for (std::size_t i = 0; i < parts; ++i) {
    const float* centroid = spec.table->data() + product_index(codes, i, spec.bits) * dims;
    for (std::size_t c = 0; c < dims; ++c) x[i * dims + c] = scale * centroid[c];
  }
}

}  // namespace

void decode_row(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales, float* x) {
  switch (spec.kind) {
    case CodeKind::f32:
      std::memcpy(x, codes, spec.code_bytes());
      return;
    case CodeKind::f16:
      return decode_floats<f16>(spec.head_dim, codes, x);
    case CodeKind::bf16:
      return decode_floats<bf16>(spec.head_dim, codes, x);
    case CodeKind::fp8_e4m3:
      return decode_floats<fp8_e4m3>(spec.head_dim, codes, x);
    case CodeKind::integer:
      return decode_integer(spec, codes, scales, x);
    case CodeKind::affine:
      return decode_affine(spec, codes, scales, x);
    case CodeKind::scalar:
      return decode_scalar(spec, codes, scales, x);
    case CodeKind::trellis:
      return decode_trellis(spec, codes, scales, x);
    case CodeKind::mixed:
      return decode_mixed(spec, codes, scales, x);
    case CodeKind::product:
      return decode_product(spec, codes, scales, x);
  }
}

}  // namespace veloxquant
