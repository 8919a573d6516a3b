// One matrix product by oneDNN on the calling thread, which does not start threads of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

// The name of oneDNN's implementation of such products, as "brg:avx512_core_bf16"; empty when this CPU has
// none.
std::string gemm_implementation(DType arithmetic);

class Gemm {
 public:
  // arithmetic: bf16 or f32, the element type of both factors; sums and results are f32. `workers` counts the
  // threads that will call multiply.
  Gemm(DType arithmetic, int workers);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // c [m, n] = a [m, k] b^T with b [n, k], all row-major. May be called by several threads at once, each with
  // its own worker number.
  void multiply(const void* a, const void* b, float* c, std::int64_t m, std::int64_t n, std::int64_t k,
                int worker);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace veloxquant
