#include "attention/mixed_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "attention/attend.hpp"
#include "attention/block_rows.hpp"
#include "attention/decoded_blocks.hpp"
#include "core/dispatch.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/mixed_blocks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// scores[r][t] += part[r][t] for the tokens [begin, begin + count), multiples of 16.
void add_scores(const float* part, int rows, int begin, int count, float* scores) {
  const Floats d;
  for (int r = 0; r < rows; ++r) {
    for (int i = r * kBlockTokens + begin, end = i + count; i < end; i += kLanes)
      hn::Store(hn::Add(hn::Load(d, scores + i), hn::Load(d, part + i)), d, scores + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(add_scores);

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

void prepare_runs(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                  std::byte* prepared) {
  for (const auto& run : runs_of(self))
    run.kernel.prepare(run.kernel, queries + run.first, stride, rows, prepared + run.prepared);
}

void score_runs(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  alignas(64) float part[kKernelRows * kBlockTokens];
  auto* const add = VELOX_DISPATCH(add_scores);
  bool first = true;
  for (const auto& run : runs_of(self)) {
    run.kernel.scores(run.kernel, prepared + run.prepared, rows, block + run.codes, moved(ahead, run.codes),
                      first_group, groups, first ? scores : part);
    if (!first) add(part, rows, 16 * first_group, 16 * groups, scores);
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

// Integer weights as floats, for runs that are decoded to floats, and sums of their own: float kernels write whole
// vectors.
class FloatWeights {
 public:
  FloatWeights(const BlockWeights& weights, WeightForm form, int rows) {
    for (int r = 0; r < rows; ++r) {
      for (int i = r * kBlockTokens; i < (r + 1) * kBlockTokens; ++i) {
        const int number = form == WeightForm::u16 ? 256 * weights.u8[i] + weights.low[i] : weights.u8[i];
        numbers_[i] = weights.step[r] * static_cast<float>(number);
      }
    }
  }
  void add(const ValueKernel& kernel, int rows, const std::uint8_t* block, const std::uint8_t* ahead,
           float* sums, std::size_t stride) const {
    thread_local AttendScratch scratch;
    const auto width = kernel.stride, dims = static_cast<std::size_t>(kernel.spec.head_dim);
    float* own = scratch.reserve(kKernelRows * width);
    std::fill(own, own + kKernelRows * width, 0.0f);
    static constexpr float kOnes[kKernelRows] = {1, 1, 1, 1, 1, 1, 1, 1};
    kernel.add(kernel, {.f32 = numbers_, .step = kOnes}, rows, block, ahead, own);
    for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
      for (std::size_t c = 0; c < dims; ++c) sums[r * stride + c] += own[r * width + c];
    }
  }

 private:
  alignas(64) float numbers_[kKernelRows * kBlockTokens] = {};
};

void add_runs(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
              const std::uint8_t* ahead, float* sums) {
  std::optional<HighBytes> high;
  std::optional<FloatWeights> floats;
  for (const auto& run : runs_of(self)) {
    const std::uint8_t *codes = block + run.codes, *next = moved(ahead, run.codes);
    if (run.kernel.form == WeightForm::f32) {
      if (!floats) floats.emplace(weights, self.form, rows);
      floats->add(run.kernel, rows, codes, next, sums + run.first, padded_row(self.spec.head_dim));
      continue;
    }
    const bool narrow = self.form == WeightForm::u16 && run.kernel.form == WeightForm::u8;
    if (narrow && !high) high.emplace(weights, rows);
    run.kernel.add(run.kernel, narrow ? high->view() : weights, rows, codes, next, sums + run.first);
  }
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
  bool any = false;
  for (std::size_t i = 0; i < spec.runs.size(); ++i) {
    const CodeSpec run = spec.of_run(i);
    KeyKernel kernel = find_key_kernel(run, arithmetic);
    any = any || kernel.scores != nullptr;
    if (kernel.scores == nullptr) {
      if (run.is_part()) return {};
      kernel = decoded_keys(run);
    }
    const std::size_t bytes = kernel.prepared_bytes;
    most_rows = std::min(most_rows, kernel.most_rows);
    runs.push_back({std::move(kernel), codes, first, prepared});
    codes += kBlockTokens * run.code_bytes();
    first += static_cast<std::size_t>(run.head_dim);
    prepared += bytes;
  }
  if (!any) return {};
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
  for (std::size_t i = 0; i < spec.runs.size(); ++i) {
    const CodeSpec run = spec.of_run(i);
    ValueKernel kernel = find_value_kernel(run, arithmetic);
    if (kernel.add != nullptr) {
      if (!form || kernel.form == WeightForm::u16) form = kernel.form;
      kernel.stride = padded_row(spec.head_dim);
    } else {
      if (run.is_part()) return {};
      kernel = decoded_values(run);
      kernel.stride = padded_row(run.head_dim);
    }
    most_rows = std::min(most_rows, kernel.most_rows);
    runs.push_back({std::move(kernel), codes, first, 0});
    codes += kBlockTokens * run.code_bytes();
    first += static_cast<std::size_t>(run.head_dim);
  }
  if (!form) return {};
  std::vector<std::uint16_t> order = joined_order(runs);
  return {.add = add_runs,
          .form = *form,
          .spec = spec,
          .tables = std::make_shared<const RunKernels<ValueKernel>>(std::move(runs)),
          .order = std::move(order),
          .most_rows = most_rows};
}

}  // namespace veloxquant
#endif
