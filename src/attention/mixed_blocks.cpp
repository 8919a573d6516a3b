#include "attention/mixed_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "attention/block_rows.hpp"

namespace veloxquant {
namespace {

template <class Kernel>
struct RunKernel {
  Kernel kernel;
  std::size_t codes;     // where the run's section begins in a block
  std::size_t first;     // its first coordinate
  std::size_t prepared;  // keys: where its prepared queries begin
};

template <class Kernel>
using RunKernels = std::vector<RunKernel<Kernel>>;

template <class Kernel>
const RunKernels<Kernel>& runs_of(const Kernel& kernel) {
  return *static_cast<const RunKernels<Kernel>*>(kernel.tables.get());
}

const std::uint8_t* moved(const std::uint8_t* section, std::size_t bytes) {
  return section != nullptr ? section + bytes : nullptr;
}

void prepare_runs(const KeyKernel& self, const float* queries, int rows, std::byte* prepared) {
  const auto dims = static_cast<std::size_t>(self.spec.head_dim), count = static_cast<std::size_t>(rows);
  std::vector<float> slice(count * dims);
  for (const auto& run : runs_of(self)) {
    const auto width = static_cast<std::size_t>(run.kernel.spec.head_dim);
    for (std::size_t r = 0; r < count; ++r)
      std::memcpy(slice.data() + r * width, queries + r * dims + run.first, width * sizeof(float));
    run.kernel.prepare(run.kernel, slice.data(), rows, prepared + run.prepared);
  }
}

void score_runs(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  alignas(64) float part[kKernelRows * kBlockTokens];
  bool first = true;
  for (const auto& run : runs_of(self)) {
    run.kernel.scores(run.kernel, prepared + run.prepared, rows, block + run.codes, moved(ahead, run.codes),
                      first_group, groups, first ? scores : part);
    for (int r = 0; r < rows && !first; ++r) {
      const int begin = r * kBlockTokens + 16 * first_group;
      for (int t = begin; t < begin + 16 * groups; ++t) scores[t] += part[t];
    }
    first = false;
  }
}

// Weights of 16 bits for kernels that take 8.
struct HighBytes {
  HighBytes(const BlockWeights& weights, int rows) {
    for (int i = 0; i < rows * kBlockTokens; ++i)
      bytes[i] = static_cast<std::uint8_t>(std::min(255, weights.u8[i] + (weights.low[i] >> 7)));
    for (int r = 0; r < kKernelRows; ++r) step[r] = 256 * weights.step[r];
  }
  BlockWeights view() const { return {.u8 = bytes, .step = step}; }

  alignas(64) std::uint8_t bytes[kKernelRows * kBlockTokens] = {};
  float step[kKernelRows];
};

void add_runs(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
              const std::uint8_t* ahead, float* sums) {
  std::optional<HighBytes> high;
  for (const auto& run : runs_of(self)) {
    const bool narrow = self.form == WeightForm::u16 && run.kernel.form == WeightForm::u8;
    if (narrow && !high) high.emplace(weights, rows);
    run.kernel.add(run.kernel, narrow ? high->view() : weights, rows, block + run.codes,
                   moved(ahead, run.codes), sums + run.first);
  }
}

// What all runs can take their weights from; none if some want floats and others integers.
std::optional<WeightForm> common_form(WeightForm a, WeightForm b) {
  if (a == b) return a;
  if (a == WeightForm::f32 || b == WeightForm::f32) return std::nullopt;
  return WeightForm::u16;
}

std::vector<std::uint16_t> joined_order(const RunKernels<ValueKernel>& runs) {
  std::vector<std::uint16_t> order;
  for (const auto& run : runs) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(run.kernel.spec.head_dim); ++i) {
      const std::size_t dim = run.kernel.order.empty() ? i : run.kernel.order[i];
      order.push_back(static_cast<std::uint16_t>(run.first + dim));
    }
  }
  return order;
}

}  // namespace

KeyKernel mixed_keys(const CodeSpec& spec, AttentionArithmetic arithmetic) {
  RunKernels<KeyKernel> runs;
  std::size_t codes = 0, first = 0, prepared = 0;
  int most_rows = std::numeric_limits<int>::max();
  for (const CodeRun& run : spec.runs) {
    KeyKernel kernel = find_key_kernel(spec.of_run(run), arithmetic);
    if (kernel.scores == nullptr) return {};
    const std::size_t bytes = kernel.prepared_bytes;
    most_rows = std::min(most_rows, kernel.most_rows);
    runs.push_back({std::move(kernel), codes, first, prepared});
    codes += kBlockTokens * run.code_bytes();
    first += static_cast<std::size_t>(run.count);
    prepared += bytes;
  }
  if (runs.empty()) return {};
  return {.prepare = prepare_runs,
          .scores = score_runs,
          .spec = spec,
          .prepared_bytes = prepared,
          .tables = std::make_shared<const RunKernels<KeyKernel>>(std::move(runs)),
          .most_rows = most_rows};
}

ValueKernel mixed_values(const CodeSpec& spec, AttentionArithmetic arithmetic) {
  RunKernels<ValueKernel> runs;
  std::size_t codes = 0, first = 0;
  int most_rows = std::numeric_limits<int>::max();
  std::optional<WeightForm> form;
  for (const CodeRun& run : spec.runs) {
    ValueKernel kernel = find_value_kernel(spec.of_run(run), arithmetic);
    if (kernel.add == nullptr) return {};
    form = common_form(form.value_or(kernel.form), kernel.form);
    if (!form) return {};
    kernel.stride = padded_row(spec.head_dim);
    most_rows = std::min(most_rows, kernel.most_rows);
    runs.push_back({std::move(kernel), codes, first, 0});
    codes += kBlockTokens * run.code_bytes();
    first += static_cast<std::size_t>(run.count);
  }
  if (runs.empty()) return {};
  std::vector<std::uint16_t> order = joined_order(runs);
  return {.add = add_runs,
          .form = *form,
          .spec = spec,
          .tables = std::make_shared<const RunKernels<ValueKernel>>(std::move(runs)),
          .order = std::move(order),
          .most_rows = most_rows};
}

}  // namespace veloxquant
