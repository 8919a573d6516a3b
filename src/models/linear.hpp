// Linear layers: y = x W^T + b, with the weights as the model file has them.
//
// A few rows (decoding) go through our own gemv, which reads the file's bf16 weights; more go through oneDNN,
// in blocks of rows that the thread pool's workers take, each running oneDNN on itself alone. oneDNN's OpenMP
// threads are never started: two pools of threads on the same cores would wait for each other. The block's
// size depends on the number of rows only, so results do not depend on the number of threads.
//
// Weights stay in the plain layout [outputs, inputs], which the oneDNN of Debian 12 repacks per call.
// Measured with one core of a Zen 5 and 256 rows that costs 3 % of the time (504 against 521 GFLOP/s in
// bf16), where a repacked copy would cost the memory of a second model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <veloxquant/core/tensor.hpp>
#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant {

struct Linear {
  Tensor few_rows;   // [outputs, inputs], bf16 or f32: what gemv reads
  Tensor many_rows;  // the same in the element type of the arithmetic: what oneDNN reads
  Tensor bias;       // f32 [outputs], or undefined

  std::int64_t outputs() const { return few_rows.dim(0); }
  std::int64_t inputs() const { return few_rows.dim(1); }
};

// Weights of any floating type, prepared for one arithmetic (bf16 or f32). Nothing is copied when the types
// fit.
Linear make_linear(const Tensor& weights, const Tensor& bias, DType arithmetic);

enum class Bf16Support : std::uint8_t { none, emulated, native };
// What this CPU does with bf16 products: emulated ones are right, and slower than f32.
Bf16Support bf16_support();

class LinearEngine {
 public:
  // arithmetic: bf16 (inputs rounded to bf16, products summed in f32) or f32.
  LinearEngine(DType arithmetic, std::shared_ptr<ThreadPool> pool);
  ~LinearEngine();
  LinearEngine(const LinearEngine&) = delete;
  LinearEngine& operator=(const LinearEngine&) = delete;

  // outputs[i] [rows, layers[i]->outputs()] = layers[i] of x [rows, inputs]; all layers have the same inputs.
  void apply(const float* x, std::int64_t rows, std::span<const Linear* const> layers,
             std::span<float* const> outputs);
  void apply(const float* x, std::int64_t rows, const Linear& layer, float* output);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace veloxquant
