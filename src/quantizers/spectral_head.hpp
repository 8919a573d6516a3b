// SpectralHead: how one KV head's keys or values are coded by the method `spectral`.
//
//     keys      x = R_-j0 k,   r = x - R_t mean,   t = position - j0      values    r = v - mean
//     z = U^T P r / sqrt(lambda)  ->  gain, runs of codes  ->  r = P^-1 U (sqrt(lambda) f y)
//
// f corrects each coordinate for what its code does to normal numbers (CodedMoments).
// Only coordinates that get bits are ever computed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>
#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "codebook/row_code.hpp"
#include "linalg/word_matrix.hpp"
#include "transform/coded_basis.hpp"
#include "transform/rope_turn.hpp"

namespace veloxquant {

// Rows as in the artifact; pointers are read by the constructor only.
struct SpectralBasis {
  int head_dim = 0;
  const float* mean = nullptr;
  const float* forward = nullptr;
  const float* inverse = nullptr;
  const float* lambda = nullptr;
};

class SpectralHead final : public CodedBasis {
 public:
  // `turn` is null for values. What is decoded is unbiased for keys, and the nearest to what was coded for
  // values. Means turned by 0 .. frame - 1 are kept as a table, up to 1024 of them.
  SpectralHead(const SpectralBasis& basis, std::span<const RunPlan> runs, bool gain,
               std::shared_ptr<const RopeTurn> turn, std::int64_t frame);

  const CodeSpec& spec() const noexcept { return code_->spec(); }
  // Dense rows; vector i has its codes at codes + i * spec().code_bytes() and its gain likewise. `places` may
  // be null for values.
  void encode(const float* rows, const TokenPlace* places, std::size_t count, std::uint8_t* codes,
              std::uint8_t* scales) const;
  void decode(const std::uint8_t* codes, const std::uint8_t* scales, const TokenPlace* places,
              std::size_t count, float* rows) const;
  // Whether attention can read the codes through CodedBasis: there are codes, and the means of
  // all places of a frame are in the table.
  bool readable() const noexcept {
    return spec().head_dim > 0 && (turn_ == nullptr || frame_ <= table_rows());
  }
  int coded_dim() const noexcept override { return spec().head_dim; }
  KeyFrames key_frames() const noexcept override {
    return {.length = turn_ ? frame_ : 0, .turn = turn_.get(), .mean = means_.data()};
  }
  void key_row(int i, float* row) const override;
  void turn_queries(const float* queries, int rows, std::span<const std::int64_t> starts,
                    FrameProducts products, FramedQueries& seen) const override;
  void restore_keys(const float* coded, const TokenPlace* places, std::size_t count, FrameProducts products,
                    float* rows) const override;
  void restore_sums(const float* coded, const float* weights, std::size_t count, float* out) const override;
  // All but `turn` and the tables of codes, which heads share.
  std::size_t nbytes() const noexcept {
    return 4 * (means_.size() + forward_.size() + inverse_.size() + query_matrix_.size() +
                one_turn_.cosines.size() + one_turn_.sines.size() + frame_turn_.cosines.size() +
                frame_turn_.sines.size()) +
           query_words_.nbytes() + inverse_words_.nbytes() + code_->nbytes();
  }

 private:
  void make_query_matrix();
  // The angles of the frame that begins at `start`, from those of the last one where that is near.
  void turn_to(std::int64_t start, FramedQueries& seen) const;
  // Subtracts (sign -1) or adds (1) the mean as it stands at a token's place in its frame; 0 for values.
  void shift(float* row, std::int64_t place, float sign) const;

  std::int64_t table_rows() const noexcept { return static_cast<std::int64_t>(means_.size()) / head_dim_; }

  int head_dim_;
  std::int64_t frame_;
  std::vector<float> means_;              // [turned by 0, 1, ..., head_dim]; values have the first row only
  std::vector<float> forward_, inverse_;  // matrices [head_dim, coded] and [coded, head_dim], padded
  // Keys: what queries are multiplied by, the transposes of inverse_ (padded) and of means_ (padded), side by
  // side. As words the rows are in the order of the pairs that are turned together.
  std::vector<float> query_matrix_;
  WordMatrix query_words_;
  WordMatrix inverse_words_;          // keys: of inverse_
  TurnAngles one_turn_, frame_turn_;  // of one position, of a frame
  std::shared_ptr<const RowCode> code_;
  std::shared_ptr<const RopeTurn> turn_;
};

}  // namespace veloxquant
