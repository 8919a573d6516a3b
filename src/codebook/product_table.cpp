#include "codebook/product_table.hpp"

#include <limits>

#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codebook/product_table.cpp"
#define HWY_WANT_AVX3_DL
// Vectors of unknown length cannot be held in arrays; Arm CPUs that have them run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using Integers = hn::RebindToSigned<Floats>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Floats()));

// The best of the lanes: the least cost, of equal ones the least index.
HWY_INLINE std::uint16_t best_lane(hn::Vec<Floats> cost, hn::Vec<Integers> index) {
  HWY_ALIGN float costs[kLanes];
  HWY_ALIGN std::int32_t indices[kLanes];
  hn::Store(cost, Floats(), costs);
  hn::Store(index, Integers(), indices);
  int best = 0;
  for (int i = 1; i < kLanes; ++i) {
    if (costs[i] < costs[best] || (costs[i] == costs[best] && indices[i] < indices[best])) best = i;
  }
  return static_cast<std::uint16_t>(indices[best]);
}

// `Together` sub-vectors at a time, for each load of centroids. Lanes are centroids.
template <int Dims, int Together>
HWY_INLINE void search(const ProductTable& table, const float* HWY_RESTRICT x,
                       std::uint16_t* HWY_RESTRICT index) {
  const Floats d;
  const Integers di;
  const int count = table.count();
  const float* HWY_RESTRICT columns = table.columns();
  hn::Vec<Floats> best[Together];
  hn::Vec<Integers> at[Together];
  for (int s = 0; s < Together; ++s) {
    best[s] = hn::Set(d, std::numeric_limits<float>::infinity());
    at[s] = hn::Zero(di);
  }
  auto here = hn::Iota(di, 0);
  for (int j = 0; j < count; j += kLanes) {
    hn::Vec<Floats> cost[Together];
    for (int s = 0; s < Together; ++s) cost[s] = hn::LoadU(d, columns + j);
    for (int c = 0; c < Dims; ++c) {
      const auto centroids = hn::LoadU(d, columns + (c + 1) * count + j);
      for (int s = 0; s < Together; ++s)
        cost[s] = hn::Sub(cost[s], hn::Mul(hn::Set(d, x[s * Dims + c]), centroids));
    }
    for (int s = 0; s < Together; ++s) {
      const auto better = hn::Lt(cost[s], best[s]);
      best[s] = hn::IfThenElse(better, cost[s], best[s]);
      at[s] = hn::IfThenElse(hn::RebindMask(di, better), here, at[s]);
    }
    here = hn::Add(here, hn::Set(di, kLanes));
  }
  for (int s = 0; s < Together; ++s) index[s] = best_lane(best[s], at[s]);
}

template <int Dims>
HWY_INLINE void search_all(const ProductTable& table, const float* x, std::size_t count,
                           std::uint16_t* index) {
  constexpr int kTogether = 4;
  for (; count >= kTogether; count -= kTogether, x += kTogether * Dims, index += kTogether)
    search<Dims, kTogether>(table, x, index);
  for (; count > 0; --count, x += Dims, ++index) search<Dims, 1>(table, x, index);
}

void nearest(const ProductTable& table, const float* x, std::size_t count, std::uint16_t* index) {
  return table.dims() == 4 ? search_all<4>(table, x, count, index) : search_all<8>(table, x, count, index);
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(nearest);

ProductTable::ProductTable(std::span<const float> centroids, int bits, int dims) : bits_(bits), dims_(dims) {
  const auto wide = static_cast<std::size_t>(count()), width = static_cast<std::size_t>(dims);
  columns_.resize((1 + width) * wide);
  for (std::size_t j = 0; j < wide; ++j) {
    float square = 0;
    for (std::size_t c = 0; c < width; ++c) {
      const float value = centroids[j * width + c];
      square += value * value;
      columns_[(c + 1) * wide + j] = value;
    }
    columns_[j] = square / 2;
  }
}

void ProductTable::nearest(const float* x, std::size_t count, std::uint16_t* index) const {
  VELOX_DISPATCH(nearest)(*this, x, count, index);
}

unsigned ProductTable::nearest(const float* x) const {
  const int wide = count();
  float least = std::numeric_limits<float>::infinity();
  unsigned best = 0;
  for (int j = 0; j < wide; ++j) {
    float cost = columns_[static_cast<std::size_t>(j)];
    for (int c = 0; c < dims_; ++c) cost -= x[c] * columns_[static_cast<std::size_t>((c + 1) * wide + j)];
    if (cost < least) {
      least = cost;
      best = static_cast<unsigned>(j);
    }
  }
  return best;
}

}  // namespace veloxquant
#endif
