#include <veloxquant/search/rabitq_index.hpp>

#include <fmt/format.h>

#include <cmath>
#include <veloxquant/core/error.hpp>

#include "codebook/row_math.hpp"
#include "search/candidates.hpp"
#include "search/index_state.hpp"

namespace veloxquant {
namespace {

// A query, rotated, and what it is to every centre; without centres to one in the origin.
struct IndexQuery {
  IndexQuery(const Tensor& query, const RowTransform& rotation, const std::vector<float>& centres)
      : rotated(static_cast<std::size_t>(rotation.head_dim())) {
    const int d = rotation.head_dim();
    const Tensor checked = checked_query(query, d);
    rotation.apply_query_row(checked.data<float>(), rotated.data());
    const float* q = rotated.data();
    for (std::size_t at = 0; at < centres.size(); at += rotated.size()) {
      const float* c = centres.data() + at;
      products.push_back(dot(q, c, d));
      norms.push_back(std::sqrt(dot(c, c, d)));
      distances.push_back(std::sqrt(fixed_order_sum(d, [=](int i) {
        const double off = static_cast<double>(q[i]) - static_cast<double>(c[i]);
        return off * off;
      })));
    }
    if (centres.empty()) {
      products = norms = {0};
      distances = {std::sqrt(dot(q, q, d))};
    }
  }

  std::vector<float> rotated;
  std::vector<double> products, norms, distances;  // by centre: <q, c>, |c|, |q - c|
};

std::size_t centre_of(const std::vector<std::uint8_t>& nearest, std::size_t i) {
  return nearest.empty() ? 0 : nearest[i];
}

// Estimates of one query.
class IndexEstimates {
 public:
  IndexEstimates(const IndexState& index, const Tensor& query, float eps0)
      : index_(index),
        query_(query, *index.rotation, index.centres.decode()),
        eps0_(eps0),
        point_(static_cast<std::size_t>(index.dims())) {}

  // <q, c> + offset + F <signs, q>, for every vector.
  std::vector<Estimate> from_signs() const {
    const SignQuery signs(query_.rotated.data(), index_.dims());
    std::vector<Estimate> estimates(index_.planes.size());
    for (std::size_t i = 0; i < estimates.size(); ++i) {
      const std::size_t j = centre_of(index_.nearest, i);
      float value = static_cast<float>(query_.products[j]) +
                    index_.planes.factor(i) * signs.product(index_.planes.signs(i));
      float margin = eps0_ * static_cast<float>(query_.distances[j]) * index_.planes.margin(i);
      if (!index_.offsets.empty()) {
        const float step = index_.offset_step * index_.planes.factor(i) * static_cast<float>(query_.norms[j]);
        value += step * static_cast<float>(index_.offsets[i]);
        margin += step / 2;  // what rounding the offset may have done
      }
      estimates[i] = {value, margin};
    }
    return estimates;
  }

  // <q, c> + offset + S <y, q>, of all bits.
  Estimate from_all_bits(std::size_t i) const {
    const int d = index_.dims();
    index_.point(i, point_.data());
    const std::size_t j = centre_of(index_.nearest, i);
    const double scale = static_cast<double>(to_f32(index_.scales[i]));
    const double offset =
        index_.rest_offsets.empty() ? 0.0 : static_cast<double>(to_f32(index_.rest_offsets[i]));
    const double value = query_.products[j] + offset + scale * dot(point_.data(), query_.rotated.data(), d);
    // S |y| is |r| / cosine.
    const double size = scale * std::sqrt(dot(point_.data(), point_.data(), d) / (d - 1));
    const double margin = static_cast<double>(eps0_) * query_.distances[j] * size *
                          static_cast<double>(to_f32(index_.sines[i]));
    return {static_cast<float>(value), static_cast<float>(margin)};
  }

 private:
  const IndexState& index_;
  IndexQuery query_;
  float eps0_;
  mutable std::vector<float> point_;
};

}  // namespace

RabitqIndex::RabitqIndex(const Tensor& vectors, const RabitqIndexOptions& options)
    : state_(std::make_unique<State>(vectors, options)) {}
RabitqIndex::~RabitqIndex() = default;
RabitqIndex::RabitqIndex(RabitqIndex&&) noexcept = default;
RabitqIndex& RabitqIndex::operator=(RabitqIndex&&) noexcept = default;

std::int64_t RabitqIndex::size() const noexcept { return static_cast<std::int64_t>(state_->planes.size()); }
int RabitqIndex::dims() const noexcept { return state_->dims(); }

SearchResult RabitqIndex::search(const Tensor& query, const SearchOptions& options) const {
  check_options(options);
  const IndexEstimates of_query(*state_, query, options.eps0);
  const std::vector<Estimate> estimates = of_query.from_signs();
  if (state_->options.bits > 1) {
    return best_of(estimates, options.top_k, [&](std::size_t i) { return of_query.from_all_bits(i).value; });
  }
  SearchResult result = best_of(estimates, options.top_k, [&](std::size_t i) { return estimates[i].value; });
  result.reranked = 0;  // there is nothing more to read
  return result;
}

SearchResult RabitqIndex::search(const Tensor& query, const SearchOptions& options,
                                 const std::function<float(std::int64_t)>& exact) const {
  check_options(options);
  if (!exact) throw ConfigError("search", "no function for exact inner products");
  return best_of(IndexEstimates(*state_, query, options.eps0).from_signs(), options.top_k,
                 [&](std::size_t i) { return exact(static_cast<std::int64_t>(i)); });
}

std::vector<Estimate> RabitqIndex::sign_estimates(const Tensor& query, float eps0) const {
  check_eps0(eps0);
  return IndexEstimates(*state_, query, eps0).from_signs();
}

Estimate RabitqIndex::estimate(const Tensor& query, std::int64_t index, float eps0) const {
  check_eps0(eps0);
  if (index < 0 || index >= size())
    throw ShapeError("estimate", fmt::format("vector {} of an index of {}", index, size()));
  const IndexEstimates of_query(*state_, query, eps0);
  const auto i = static_cast<std::size_t>(index);
  return state_->options.bits > 1 ? of_query.from_all_bits(i) : of_query.from_signs()[i];
}

Tensor RabitqIndex::decode() const {
  const auto width = static_cast<std::size_t>(dims());
  const std::vector<float> centres = state_->centres.decode();
  Tensor vectors = Tensor::empty({size(), dims()}, DType::f32);
  std::vector<float> row(width);
  for (std::size_t i = 0; i < state_->planes.size(); ++i) {
    state_->point(i, row.data());
    const float scale = state_->options.bits > 1 ? to_f32(state_->scales[i]) : state_->planes.factor(i);
    for (std::size_t c = 0; c < width; ++c) {
      row[c] *= scale;
      if (!centres.empty()) row[c] += centres[state_->nearest[i] * width + c];
    }
    state_->rotation->inverse_row(row.data(), vectors.data<float>() + i * width);
  }
  return vectors;
}

std::size_t RabitqIndex::scanned_bytes() const noexcept {
  return state_->planes.vector_bytes() + state_->nearest.size() + state_->offsets.size() +
         state_->centres.nbytes();
}

std::size_t RabitqIndex::nbytes() const noexcept {
  const State& s = *state_;
  return scanned_bytes() + s.rest.size() +
         sizeof(f16) * (s.scales.size() + s.sines.size() + s.rest_offsets.size());
}

}  // namespace veloxquant
