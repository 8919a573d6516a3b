#include "eval/method_run.hpp"

#include <cmath>
#include <utility>

namespace veloxquant {
namespace {

constexpr std::size_t kBlock = 256;  // tokens whose mean KL is one sample when there is one window only

double mean_kl(const RowDivergence* rows, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += rows[i].kl;
  return sum / static_cast<double>(count);
}

}  // namespace

MethodRun::MethodRun(BenchmarkMethod method, KVCacheConfig config, std::shared_ptr<ThreadPool> pool)
    : method_(std::move(method)),
      config_(std::make_shared<const KVCacheConfig>(std::move(config))),
      layers_(make_layer_methods(*config_, method_.artifacts)),
      pool_(std::move(pool)) {}

Caches MethodRun::make_caches() const {
  Caches caches;
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    caches.push_back(
        std::make_unique<PackedKVCache>(config_, static_cast<int>(layer), layers_[layer], pool_));
  }
  return caches;
}

void MethodRun::add_window(const std::vector<RowDivergence>& rows) {
  for (const RowDivergence& row : rows) {
    nll_ += row.nll;
    same_top_ += row.same_top ? 1 : 0;
  }
  predictions_ += rows.size();
  if (window_kl_.empty()) {
    for (std::size_t i = 0; i + kBlock <= rows.size(); i += kBlock)
      block_kl_.push_back(mean_kl(&rows[i], kBlock));
  }
  window_kl_.push_back(mean_kl(rows.data(), rows.size()));
}

void MethodRun::add_recall(int asked, int right) {
  recall_asked_ += asked;
  recall_right_ += right;
}

void MethodRun::add_prefill(std::size_t tokens, double seconds) {
  prefill_speeds_.push_back(static_cast<double>(tokens) / seconds);
}

void MethodRun::add_decode(std::size_t tokens, double seconds) {
  decode_speeds_.push_back(static_cast<double>(tokens) / seconds);
}

void MethodRun::add_encode(std::size_t tokens, double seconds) {
  encode_costs_.push_back(1e6 * seconds / static_cast<double>(tokens));
}

std::uint64_t MethodRun::token_bytes() const {
  std::uint64_t bytes = 0;
  for (const LayerMethods& layer : layers_) bytes += layer.token_bytes(config_->options().kv_heads);
  return bytes;
}

void MethodRun::set_filled(const Caches& caches) {
  std::uint64_t held = 0;
  for (const auto& cache : caches) held += cache->nbytes();
  filled_bytes_ = held;
}

void MethodRun::add_sizes(const Caches& caches) {
  const KVCacheOptions& options = config_->options();
  const double elements_of_token = 2.0 * options.kv_heads * options.head_dim;
  std::uint64_t held = 0, coded = 0;
  double elements = 0;
  for (const auto& cache : caches) {
    held += cache->nbytes();
    coded += cache->coded_bytes();
    elements += elements_of_token * static_cast<double>(cache->coded_tokens());
  }
  resident_bytes_ = held;
  if (elements > 0) bits_per_element_ = 8.0 * static_cast<double>(coded) / elements;
}

MeanEstimate MethodRun::divergence() const {
  if (window_kl_.size() >= 2) return estimate(window_kl_);
  return {estimate(window_kl_).mean, estimate(block_kl_).standard_error};
}

MethodResult MethodRun::result() const {
  MethodResult result;
  result.method = method_;
  result.bits_per_element = bits_per_element_;
  result.resident_bytes = resident_bytes_;
  result.filled_bytes = filled_bytes_;
  result.method_bytes = veloxquant::method_bytes(layers_);

  for (const std::int64_t tokens : {512, 2048, 8192, 32768, 131072}) {
    std::uint64_t bytes = 0;
    for (const LayerMethods& layer : layers_) bytes += PackedKVCache::nbytes_of(*config_, layer, tokens);
    result.memory_by_context.emplace_back(tokens, bytes);
  }

  result.attention = attention_path(layers_.front(), config_->options().kv_heads);

  if (predictions_ > 0) {
    const auto count = static_cast<double>(predictions_);
    result.perplexity = std::exp(nll_ / count);
    result.same_top1 = static_cast<double>(same_top_) / count;
  }
  result.kl = divergence().mean;
  result.kl_stderr = divergence().standard_error;
  result.recall_asked = recall_asked_;
  if (recall_asked_ > 0) result.recall = static_cast<double>(recall_right_) / recall_asked_;
  result.attention_error = attention_error_;
  result.prefill_tokens_per_s = spread(prefill_speeds_);
  result.decode_tokens_per_s = spread(decode_speeds_);
  result.encode_us_per_token = spread(encode_costs_);
  return result;
}

}  // namespace veloxquant
