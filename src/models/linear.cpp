#include "models/linear.hpp"

#include <algorithm>

#include "models/gemm.hpp"
#include "models/gemv.hpp"
#include "models/row_kernels.hpp"

namespace veloxquant {
namespace {

constexpr std::int64_t kGemvOutputs = 128;  // outputs of one item of the thread pool
constexpr std::int64_t kConvertRows = 16;   // rows of one item when inputs are rounded

// Rows of one product: large ones spread the cost of repacking, small ones give every thread work.
std::int64_t rows_per_product(std::int64_t rows) {
  if (rows <= 128) return 64;
  return rows < 1024 ? 128 : 256;
}

std::int64_t pieces(std::int64_t total, std::int64_t piece) { return (total + piece - 1) / piece; }

void gemv_any(const Linear& layer, const float* x, std::int64_t rows, std::int64_t begin, std::int64_t end,
              float* y) {
  const auto inputs = static_cast<std::size_t>(layer.inputs()), count = static_cast<std::size_t>(rows);
  const auto first = static_cast<std::size_t>(begin), last = static_cast<std::size_t>(end);
  const auto stride = static_cast<std::size_t>(layer.outputs());
  if (layer.few_rows.dtype() == DType::bf16) {
    gemv(layer.few_rows.data<bf16>(), x, inputs, count, first, last, y, stride);
  } else {
    gemv(layer.few_rows.data<float>(), x, inputs, count, first, last, y, stride);
  }
}

// Adds the bias to columns [begin, end) of `rows` rows.
void add_bias(const Linear& layer, float* y, std::int64_t rows, std::int64_t begin, std::int64_t end) {
  if (!layer.bias.defined()) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    add_to(y + r * layer.outputs() + begin, layer.bias.data<float>() + begin,
           static_cast<std::size_t>(end - begin));
  }
}

}  // namespace

Linear make_linear(const Tensor& weights, const Tensor& bias, DType arithmetic) {
  Linear layer;
  layer.many_rows = weights.dtype() == arithmetic ? weights : weights.to(arithmetic);
  layer.few_rows = weights.dtype() == DType::bf16 ? weights : layer.many_rows;
  if (bias.defined()) layer.bias = bias.to(DType::f32);
  return layer;
}

Bf16Support bf16_support() {
  const std::string name = gemm_implementation(DType::bf16);
  if (name.empty()) return Bf16Support::none;
  return name.find("bf16") == std::string::npos ? Bf16Support::emulated : Bf16Support::native;
}

struct LinearEngine::State {
  State(DType type, std::shared_ptr<ThreadPool> threads)
      : arithmetic(type), pool(std::move(threads)), gemm(type, pool->threads()) {}

  void few(const float* x, std::int64_t rows, std::span<const Linear* const> layers,
           std::span<float* const> outputs) {
    std::size_t items = 0;
    for (const Linear* layer : layers)
      items += static_cast<std::size_t>(pieces(layer->outputs(), kGemvOutputs));
    pool->parallel_for(items, [&](std::size_t item, int) {
      std::size_t i = 0;
      auto piece = static_cast<std::int64_t>(item);
      for (; piece >= pieces(layers[i]->outputs(), kGemvOutputs); ++i)
        piece -= pieces(layers[i]->outputs(), kGemvOutputs);
      const std::int64_t begin = piece * kGemvOutputs;
      const std::int64_t end = std::min(begin + kGemvOutputs, layers[i]->outputs());
      gemv_any(*layers[i], x, rows, begin, end, outputs[i]);
      add_bias(*layers[i], outputs[i], rows, begin, end);
    });
  }

  // x in the element type of the arithmetic.
  const void* operand(const float* x, std::int64_t rows, std::int64_t inputs) {
    if (arithmetic == DType::f32) return x;
    if (!rounded.defined() || rounded.numel() < rows * inputs)
      rounded = Tensor::empty({rows * inputs}, DType::bf16);
    pool->parallel_for(static_cast<std::size_t>(pieces(rows, kConvertRows)), [&](std::size_t item, int) {
      const std::int64_t begin = static_cast<std::int64_t>(item) * kConvertRows;
      const std::int64_t count = std::min(kConvertRows, rows - begin);
      round_to_bf16(x + begin * inputs, static_cast<std::size_t>(count * inputs),
                    rounded.data<bf16>() + begin * inputs);
    });
    return rounded.raw();
  }

  void many(const float* x, std::int64_t rows, std::span<const Linear* const> layers,
            std::span<float* const> outputs) {
    const std::int64_t inputs = layers[0]->inputs(), step = rows_per_product(rows);
    const auto* a = static_cast<const std::byte*>(operand(x, rows, inputs));
    const auto row_bytes = static_cast<std::int64_t>(size_of(arithmetic)) * inputs;
    const auto blocks = static_cast<std::size_t>(pieces(rows, step));
    pool->parallel_for(blocks * layers.size(), [&](std::size_t item, int worker) {
      const Linear& layer = *layers[item / blocks];
      const std::int64_t begin = static_cast<std::int64_t>(item % blocks) * step;
      const std::int64_t count = std::min(step, rows - begin);
      float* y = outputs[item / blocks] + begin * layer.outputs();
      gemm.multiply(a + begin * row_bytes, layer.many_rows.raw(), y, count, layer.outputs(), inputs, worker);
      add_bias(layer, y, count, 0, layer.outputs());
    });
  }

  DType arithmetic;
  std::shared_ptr<ThreadPool> pool;
  Gemm gemm;
  Tensor rounded;  // grows to the largest operand; kept for the next product
};

LinearEngine::LinearEngine(DType arithmetic, std::shared_ptr<ThreadPool> pool)
    : state_(std::make_unique<State>(arithmetic, std::move(pool))) {}
LinearEngine::~LinearEngine() = default;

void LinearEngine::apply(const float* x, std::int64_t rows, std::span<const Linear* const> layers,
                         std::span<float* const> outputs) {
  if (rows == 0) return;
  if (rows <= static_cast<std::int64_t>(kGemvRows)) {
    state_->few(x, rows, layers, outputs);
  } else {
    state_->many(x, rows, layers, outputs);
  }
}

void LinearEngine::apply(const float* x, std::int64_t rows, const Linear& layer, float* output) {
  const Linear* const layers[] = {&layer};
  float* const outputs[] = {output};
  apply(x, rows, layers, outputs);
}

}  // namespace veloxquant
