// How vectors become an index.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <veloxquant/core/error.hpp>
#include <veloxquant/transform/hadamard.hpp>
#include <veloxquant/transform/rotation.hpp>

#include "codebook/row_math.hpp"
#include "core/input.hpp"
#include "core/quote.hpp"
#include "pack/bits.hpp"
#include "search/index_state.hpp"
#include "search/k_means.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

constexpr int kMostCentres = 256;  // a byte names one
constexpr int kCentreBits = 8;

std::unique_ptr<const RowTransform> make_rotation(const RabitqIndexOptions& options, int dims) {
  if (options.transform == "hadamard") return std::make_unique<const HadamardTransform>(dims, options.seed);
  if (options.transform == "haar") return std::make_unique<const HaarRotation>(dims, options.seed);
  throw ConfigError("index",
                    fmt::format("transform {}; estimates rest on a random rotation, hadamard or haar",
                                quote(options.transform)));
}

int dims_of(const Tensor& vectors) {
  if (!vectors.defined() || vectors.rank() != 2 || vectors.dim(0) < 1) {
    throw ShapeError("index",
                     fmt::format("the vectors have shape {}, but must be [count, dims] with at least one",
                                 vectors.defined() ? to_string(vectors.shape()) : "of nothing"));
  }
  const int dims = static_cast<int>(std::min<std::int64_t>(vectors.dim(1), kMaxHeadDim + 1));
  require_head_dim(dims, "index");
  return dims;
}

void check(const RabitqIndexOptions& options, std::int64_t count) {
  if (options.bits < 1 || options.bits > 8)
    throw ConfigError("index", fmt::format("bits is {}, but must be from 1 to 8", options.bits));
  if (options.centres < 0 || options.centres > kMostCentres || options.centres > count) {
    throw ConfigError("index",
                      fmt::format("{} centres for {} vectors, but there may be at most {}, and no more than "
                                  "vectors",
                                  options.centres, count, kMostCentres));
  }
}

// The smallest f16 that is not below `value`, which is from 0 to 1.
f16 to_f16_up(double value) {
  f16 stored = to_f16(static_cast<float>(value));
  if (static_cast<double>(to_f32(stored)) < value) ++stored.bits;
  return stored;
}

// sum_c +-values[c].
double signed_sum(const float* values, const std::uint8_t* signs, int count) {
  return fixed_order_sum(count, [=](int c) {
    const bool positive = read_bits(signs, static_cast<std::size_t>(c), 1) != 0;
    return static_cast<double>(positive ? values[c] : -values[c]);
  });
}

}  // namespace

CodedCentres::CodedCentres(const float* rows, std::size_t count, int dims, int centres, std::uint64_t seed)
    : code_(make_rabitq_code(kCentreBits, dims, ScaleMode::unbiased)) {
  const auto number = static_cast<std::size_t>(centres);
  codes_.resize(number * code_->spec().code_bytes());
  scales_.resize(number * code_->spec().scale_bytes());
  code_->encode_rows(k_means(rows, count, dims, centres, seed).data(), number, codes_.data(), scales_.data());
}

std::vector<float> CodedCentres::decode() const {
  if (!code_) return {};
  const CodeSpec& spec = code_->spec();
  const std::size_t number = codes_.size() / spec.code_bytes(),
                    dims = static_cast<std::size_t>(spec.head_dim);
  std::vector<float> rows(number * dims);
  for (std::size_t j = 0; j < number; ++j)
    decode_row(spec, codes_.data() + j * spec.code_bytes(), scales_.data() + j * spec.scale_bytes(),
               rows.data() + j * dims);
  return rows;
}

IndexState::IndexState(const Tensor& vectors, const RabitqIndexOptions& o)
    : options(o), planes(dims_of(vectors)) {
  const int d = dims_of(vectors);
  const auto width = static_cast<std::size_t>(d), count = static_cast<std::size_t>(vectors.dim(0));
  check(options, vectors.dim(0));
  rotation = make_rotation(options, d);
  const Tensor x = checked_vectors(vectors.contiguous().reshape({1, 1, vectors.dim(0), d}), d, "index");
  std::vector<float> rows(count * width), centre_rows;
  rotation->apply_rows(x.data<float>(), count, rows.data());
  if (options.centres > 0) {
    centres = CodedCentres(rows.data(), count, d, options.centres, options.seed);
    centre_rows = centres.decode();
    nearest = nearest_centres(rows.data(), count, d, centre_rows);
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t c = 0; c < width; ++c) rows[i * width + c] -= centre_rows[nearest[i] * width + c];
  }
  planes.append(rows.data(), count);
  if (options.centres > 0) code_offsets(rows, centre_rows);
  if (options.bits > 1) code_rest(rows, centre_rows);
}

void IndexState::code_offsets(const std::vector<float>& residuals, const std::vector<float>& centre_rows) {
  const auto width = static_cast<std::size_t>(dims());
  std::vector<double> exact(planes.size());
  double largest = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const float *r = residuals.data() + i * width, *c = centre_rows.data() + nearest[i] * width;
    const double factor = static_cast<double>(planes.factor(i)), unit = factor * std::sqrt(dot(c, c, dims()));
    if (unit == 0) continue;  // the vector is the centre, or the centre is zero
    exact[i] = (dot(c, r, dims()) - factor * signed_sum(c, planes.signs(i), dims())) / unit;
    largest = std::max(largest, std::fabs(exact[i]));
  }
  offset_step = static_cast<float>(largest / 127);
  offsets.resize(exact.size());
  for (std::size_t i = 0; i < exact.size() && offset_step > 0; ++i) {
    const double steps = std::nearbyint(exact[i] / static_cast<double>(offset_step));
    offsets[i] = static_cast<std::int8_t>(std::clamp(steps, -127.0, 127.0));
  }
}

void IndexState::code_rest(const std::vector<float>& residuals, const std::vector<float>& centre_rows) {
  code = make_rabitq_code(options.bits, dims(), ScaleMode::unbiased);
  const auto width = static_cast<std::size_t>(dims()), count = planes.size();
  const auto below_sign = static_cast<std::uint8_t>((1 << (options.bits - 1)) - 1);
  rest.resize(count * rest_bytes());
  for (auto* numbers : {&scales, &sines, &rest_offsets}) numbers->resize(count);
  if (options.centres == 0) rest_offsets.clear();
  std::vector<std::uint8_t> codes(code->spec().code_bytes()), indices(width);
  std::vector<float> y(width);
  for (std::size_t i = 0; i < count; ++i) {
    const float* r = residuals.data() + i * width;
    code->encode(r, codes.data(), reinterpret_cast<std::uint8_t*>(&scales[i]));
    unpack_codes(codes.data(), dims(), options.bits, indices.data());
    for (std::uint8_t& index : indices) index &= below_sign;
    pack_codes(indices.data(), dims(), options.bits - 1, rest.data() + i * rest_bytes());
    point(i, y.data());
    const double along = dot(r, y.data(), dims()),
                 squares = dot(r, r, dims()) * dot(y.data(), y.data(), dims());
    sines[i] = to_f16_up(squares > 0 ? std::sqrt(std::max(0.0, 1 - along * along / squares)) : 0);
    if (options.centres == 0) continue;
    const float* c = centre_rows.data() + nearest[i] * width;
    const double offset =
        dot(c, r, dims()) - static_cast<double>(to_f32(scales[i])) * dot(c, y.data(), dims());
    store_f16(offset, "offset", reinterpret_cast<std::uint8_t*>(&rest_offsets[i]), 0);
  }
}

std::size_t IndexState::rest_bytes() const noexcept { return packed_bytes(dims(), options.bits - 1); }

void IndexState::point(std::size_t i, float* y) const {
  const auto width = static_cast<std::size_t>(dims());
  const std::uint8_t* const signs = planes.signs(i);
  const auto sign = [signs](std::size_t c) { return signs[c / 8] >> (c % 8) & 1u; };
  if (options.bits == 1) {
    for (std::size_t c = 0; c < width; ++c) y[c] = sign(c) != 0 ? 1.0f : -1.0f;
    return;
  }
  std::uint8_t below[kMaxHeadDim];
  unpack_codes(rest.data() + i * rest_bytes(), dims(), options.bits - 1, below);
  const float* const table = code->spec().table->data();
  for (std::size_t c = 0; c < width; ++c) y[c] = table[sign(c) << (options.bits - 1) | below[c]];
}

}  // namespace veloxquant
