#include "eval/group_statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <type_traits>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "core/counted.hpp"

namespace veloxquant {
namespace {

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

double square_sum(std::span<const float> values) {
  double sum = 0;
  for (const float x : values) sum += static_cast<double>(x) * static_cast<double>(x);
  return sum;
}

// The rows of a head from token `first` on; x is [1, heads, tokens, dim].
std::span<const float> head_rows(const Tensor& x, std::int64_t head, std::int64_t first) {
  const std::int64_t tokens = x.dim(2), dim = x.dim(3);
  return {x.data<const float>() + (head * tokens + first) * dim, as_size((tokens - first) * dim)};
}

// |x - x'|^2 over the rows, as a cache codes and decodes them.
double squared_error(const VectorQuantizer& method, int head, std::span<const float> rows,
                     std::int64_t first) {
  constexpr std::size_t kPiece = 64;
  const std::size_t dim = as_size(method.head_dim()), count = rows.size() / dim;
  std::vector<std::uint8_t> codes(kPiece * method.code_bytes(head)),
      scales(kPiece * method.scale_bytes(head));
  std::vector<float> back(kPiece * dim);
  std::vector<TokenPlace> places(kPiece);
  double sum = 0;
  for (std::size_t begin = 0, here; begin < count; begin += here) {
    here = std::min(kPiece, count - begin);
    for (std::size_t i = 0; i < here; ++i) {
      const auto at = static_cast<std::int64_t>(begin + i);
      places[i] = {.position = first + at,
                   .frame_start = first + (method.frame() > 0 ? at / method.frame() * method.frame() : 0)};
    }
    const float* x = rows.data() + begin * dim;
    method.encode_rows_at(x, places.data(), here, head, codes.data(), scales.data());
    method.decode_rows_at(codes.data(), scales.data(), places.data(), here, head, back.data());
    for (std::size_t i = 0; i < here * dim; ++i) {
      const double error = static_cast<double>(x[i]) - static_cast<double>(back[i]);
      sum += error * error;
    }
  }
  return sum;
}

}  // namespace

template <class Self>
auto GroupStatistics::sums(Self& self) {
  std::vector<std::conditional_t<std::is_const_v<Self>, const std::vector<double>, std::vector<double>>*> all;
  for (auto& layer : self.layers_) {
    for (auto* sum : {&layer.tokens, &layer.hidden_square, &layer.query_square, &layer.output_square})
      all.push_back(sum);
    for (auto& sum : layer.values) all.push_back(&sum);
  }
  all.push_back(&self.energy_);
  for (auto& sum : self.errors_) all.push_back(&sum);
  return all;
}

GroupStatistics::GroupStatistics(const ModelParts& model, WidthMethods methods, std::int64_t sinks)
    : groups_{{}, model.config.layers, model.config.kv_heads, model.config.head_dim},
      queries_per_head_(model.config.heads / model.config.kv_heads),
      methods_(std::move(methods)),
      sinks_(sinks),
      pool_(model.pool),
      layers_(as_size(groups_.layers)),
      energy_(groups_.count()),
      errors_(groups_.count(), std::vector<double>(methods_.keys.size())) {
  const std::int64_t dim = groups_.head_dim;
  for (int l = 0; l < groups_.layers; ++l) {
    Layer& layer = layers_[as_size(l)];
    layer.query_square.resize(as_size(model.config.heads));
    layer.output_square.resize(layer.query_square.size());
    layer.projection_square.resize(layer.query_square.size());
    layer.values.assign(as_size(groups_.kv_heads), std::vector<double>(as_size(dim)));
    const Tensor projection = model.output_projection(l);
    for (std::int64_t row = 0; row < projection.dim(0); ++row) {
      const float* weights = projection.data<const float>() + row * projection.dim(1);
      for (double& square : layer.projection_square) {
        square += square_sum({weights, as_size(dim)});
        weights += dim;
      }
    }
  }
}

void GroupStatistics::add(std::size_t /*window*/, int l, const HeadActivations& a) {
  const std::int64_t tokens = a.keys.dim(2), dim = a.keys.dim(3);
  if (tokens <= sinks_) {
    throw ConfigError("precompute", fmt::format("windows of {}, of which {} are left out; lengthen them",
                                                counted(tokens, "token"), sinks_));
  }
  Layer& layer = layers_[as_size(l)];
  const auto counted = static_cast<double>(tokens - sinks_);
  layer.tokens[0] += counted;
  layer.hidden_square[0] += a.hidden_square * counted;
  const Tensor outputs = a.attention.contiguous();
  for (std::size_t h = 0; h < layer.query_square.size(); ++h) {
    layer.query_square[h] += square_sum(head_rows(a.queries, static_cast<std::int64_t>(h), sinks_));
    layer.output_square[h] += square_sum(head_rows(outputs, static_cast<std::int64_t>(h), sinks_));
  }
  for (int h = 0; h < groups_.kv_heads; ++h) {
    const auto values = head_rows(a.values, h, sinks_);
    for (std::size_t i = 0; i < values.size(); ++i)
      layer.values[as_size(h)][i % as_size(dim)] += static_cast<double>(values[i]);
  }
  add_errors(l, a);
}

void GroupStatistics::merge(const GroupStatistics& other) {
  const auto from = sums(other);
  const auto to = sums(*this);
  for (std::size_t i = 0; i < to.size(); ++i) {
    for (std::size_t k = 0; k < to[i]->size(); ++k) (*to[i])[k] += (*from[i])[k];
  }
}

void GroupStatistics::save(StateWriter& out) const {
  for (const std::vector<double>* sum : sums(*this)) out.put_all(*sum);
}

void GroupStatistics::restore(StateReader& in) {
  for (std::vector<double>* sum : sums(*this)) in.fill(*sum);
}

void GroupStatistics::add_errors(int layer, const HeadActivations& a) {
  const std::size_t widths = methods_.keys.size(), first = groups_.index(layer, Role::keys, 0);
  const std::size_t groups = 2 * as_size(groups_.kv_heads);
  pool_->parallel_for(groups * widths, [&](std::size_t item, int) {
    const std::size_t g = first + item / widths, width = item % widths;
    const Role role = groups_.role_of(g);
    const int head = groups_.head_of(g);
    const auto rows = head_rows(role == Role::keys ? a.keys : a.values, head, sinks_);
    if (width == 0) energy_[g] += square_sum(rows);
    errors_[g][width] += squared_error(methods_.at(role, width), head, rows, sinks_);
  });
}

std::vector<double> GroupStatistics::distortion(std::size_t g) const {
  std::vector<double> result = errors_[g];
  for (double& error : result) error = energy_[g] > 0 ? error / energy_[g] : 0;
  return result;
}

double GroupStatistics::hidden_square(const Layer& layer) const {
  double square = layer.hidden_square[0];
  for (std::size_t q = 0; q < layer.output_square.size(); ++q)
    square += layer.projection_square[q] / groups_.head_dim * layer.output_square[q];
  return square / layer.tokens[0];
}

double GroupStatistics::proxy(std::size_t g) const {
  const Layer& layer = layers_[as_size(groups_.layer_of(g))];
  const auto head = as_size(groups_.head_of(g));
  const double dim = groups_.head_dim;
  const bool keys = groups_.role_of(g) == Role::keys;
  double reach = 0;  // of an error of the head's output, through the query heads that share it
  for (std::size_t q = head * as_size(queries_per_head_); q < (head + 1) * as_size(queries_per_head_); ++q) {
    reach += layer.projection_square[q] / dim * (keys ? layer.query_square[q] / layer.tokens[0] : 1);
  }
  const double hidden = hidden_square(layer);
  if (!(hidden > 0)) return 0;
  const double own = energy_[g] / layer.tokens[0] / hidden;
  if (!keys) return reach * own;
  const std::size_t values = groups_.index(groups_.layer_of(g), Role::values, groups_.head_of(g));
  double spread = energy_[values] / layer.tokens[0];
  for (const double sum : layer.values[head]) spread -= sum / layer.tokens[0] * (sum / layer.tokens[0]);
  return reach * own / (dim * dim) * std::max(spread, 0.0);
}

}  // namespace veloxquant
