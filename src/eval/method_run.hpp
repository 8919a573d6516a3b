// A method while it is measured: its caches' recipe, and the figures gathered so far.
#pragma once

#include <memory>
#include <vector>
#include <veloxquant/eval/divergence.hpp>
#include <veloxquant/eval/result.hpp>

#include "eval/passes.hpp"

namespace veloxquant {

class MethodRun {
 public:
  // Throws what the method's making throws when it cannot serve the model.
  MethodRun(BenchmarkMethod method, KVCacheConfig config, std::shared_ptr<ThreadPool> pool);

  // Empty caches, one a layer; the methods are shared by all of them.
  Caches make_caches() const;
  const BenchmarkMethod& method() const { return method_; }

  // What a pass found out.
  void add_window(const std::vector<RowDivergence>& rows);
  void add_recall(int asked, int right);
  void add_prefill(std::size_t tokens, double seconds);
  void add_decode(std::size_t tokens, double seconds);
  void add_encode(std::size_t tokens, double seconds);
  void add_sizes(const Caches& caches);
  // Of caches with a synthetic context.
  void set_filled(const Caches& caches);
  void set_attention_error(std::vector<double> by_layer) { attention_error_ = std::move(by_layer); }

  // Bytes of codes and scales of one token in all layers.
  std::uint64_t token_bytes() const;
  std::size_t timed_prefills() const { return prefill_speeds_.size(); }
  std::size_t timed_decodes() const { return decode_speeds_.size(); }
  MethodResult result() const;

 private:
  MeanEstimate divergence() const;

  BenchmarkMethod method_;
  std::shared_ptr<const KVCacheConfig> config_;
  std::vector<LayerMethods> layers_;
  std::shared_ptr<ThreadPool> pool_;

  double nll_ = 0;
  std::size_t predictions_ = 0, same_top_ = 0;
  std::vector<double> window_kl_;  // mean of each window
  std::vector<double> block_kl_;   // mean of each block of the first window
  int recall_asked_ = 0, recall_right_ = 0;
  std::vector<double> attention_error_;
  std::vector<double> prefill_speeds_, decode_speeds_, encode_costs_;
  std::optional<std::uint64_t> resident_bytes_, filled_bytes_;
  std::optional<double> bits_per_element_;
};

}  // namespace veloxquant
