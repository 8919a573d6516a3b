// What a RabitqIndex holds: rotated vectors x = c + r, their residuals r coded from the signs on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <veloxquant/core/half.hpp>
#include <veloxquant/search/rabitq_index.hpp>
#include <veloxquant/transform/row_transform.hpp>

#include "codebook/row_code.hpp"
#include "search/sign_planes.hpp"

namespace veloxquant {

// The centres as codes of 8 bits. Residuals are taken from what these say, so that their rounding costs
// nothing.
class CodedCentres {
 public:
  // None.
  CodedCentres() = default;
  // Of the rows [count, dims], by k-means.
  CodedCentres(const float* rows, std::size_t count, int dims, int centres, std::uint64_t seed);

  std::vector<float> decode() const;  // [centres, dims]
  std::size_t nbytes() const noexcept { return codes_.size() + scales_.size(); }

 private:
  std::shared_ptr<const RowCode> code_;
  std::vector<std::uint8_t> codes_, scales_;
};

struct IndexState {
  IndexState(const Tensor& vectors, const RabitqIndexOptions& o);

  int dims() const noexcept { return rotation->head_dim(); }
  std::size_t rest_bytes() const noexcept;  // of a vector
  // The point y of the grid that all bits of vector i name; with one bit its signs.
  void point(std::size_t i, float* y) const;

  RabitqIndexOptions options;
  std::unique_ptr<const RowTransform> rotation;
  CodedCentres centres;

  // The first stage, by vector; with centres alone nearest and offsets.
  SignPlanes planes;
  std::vector<std::uint8_t> nearest;
  std::vector<std::int8_t> offsets;  // (<c, r> - F <signs, c>) / (F |c|), in steps
  float offset_step = 0;

  // The second stage, by vector; with one bit there is none.
  std::unique_ptr<const RowCode> code;  // of all bits
  std::vector<std::uint8_t> rest;       // the bits below the sign of each coordinate
  std::vector<f16> scales;              // S
  std::vector<f16> sines;               // of the angle between r and y, rounded up
  std::vector<f16> rest_offsets;        // <c, r> - S <y, c>

 private:
  void code_offsets(const std::vector<float>& residuals, const std::vector<float>& centre_rows);
  void code_rest(const std::vector<float>& residuals, const std::vector<float>& centre_rows);
};

struct RabitqIndex::State : IndexState {
  using IndexState::IndexState;
};

}  // namespace veloxquant
