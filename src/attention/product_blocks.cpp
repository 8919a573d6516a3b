#include "attention/product_blocks.hpp"

#include <cstring>

#include "attention/block_rows.hpp"
#include "codebook/product_table.hpp"
#include "core/dispatch.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/product_blocks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef VELOXQUANT_PRODUCT_BLOCKS_ONCE
#define VELOXQUANT_PRODUCT_BLOCKS_ONCE
namespace veloxquant {

struct ProductKernel {
  KeyKernel::Prepare prepare = nullptr;
  KeyKernel::Scores scores = nullptr;
};

// Rows of a look-up: one, or whole vectors of 4 or 8.
constexpr int look_up_width(int rows) noexcept { return rows <= 1 ? 1 : rows <= 4 ? 4 : 8; }

}  // namespace veloxquant
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The numbers of W rows: vectors of as many lanes, or fewer lanes and more vectors.
template <int W>
struct RowNumbers {
  using Tag = hn::CappedTag<float, W>;
  static constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<float, W>()));
  static constexpr int kVectors = W / kLanes;
  hn::Vec<Tag> v[kVectors];

  // Zeros. Not the implicit constructor, which is not compiled for the target.
  HWY_INLINE RowNumbers() {
    for (auto& x : v) x = hn::Zero(Tag());
  }
  HWY_INLINE void add(const float* numbers) {
    for (int i = 0; i < kVectors; ++i) v[i] = hn::Add(v[i], hn::LoadU(Tag(), numbers + i * kLanes));
  }
  HWY_INLINE void add_product(const float* numbers, float factor) {
    for (int i = 0; i < kVectors; ++i)
      v[i] = hn::MulAdd(hn::LoadU(Tag(), numbers + i * kLanes), hn::Set(Tag(), factor), v[i]);
  }
  HWY_INLINE void store(float* numbers) const {
    for (int i = 0; i < kVectors; ++i) hn::StoreU(v[i], Tag(), numbers + i * kLanes);
  }
};

// Products [part][centroid][row of W].
template <int Bits, int Dims, int W>
HWY_INLINE void make_products(const CodeSpec& spec, const float* queries, std::size_t stride, int rows,
                              float* products) {
  constexpr int kCentroids = 1 << Bits;
  const int dims = spec.head_dim;
  const float* centroids = spec.table->data();
  alignas(64) float part[Dims * W] = {};  // [coordinate][row]
  for (int first = 0; first < dims; first += Dims) {
    for (int r = 0; r < rows; ++r) {
      const float* query = queries + static_cast<std::size_t>(r) * stride + first;
      for (int c = 0; c < Dims; ++c) part[c * W + r] = query[c];
    }
    for (int j = 0; j < kCentroids; ++j, products += W) {
      RowNumbers<W> product;
      for (int c = 0; c < Dims; ++c) product.add_product(part + c * W, centroids[j * Dims + c]);
      product.store(products);
    }
  }
}

// Sums of tokens [first, end) -> scores [row][64]. Some tokens at a time, as the additions of one would wait
// for each other.
template <int Bits, int W>
HWY_INLINE void look_up(const CodeSpec& spec, const float* products, int rows, const std::uint8_t* block,
                        int first, int end, float* scores) {
  constexpr int kTogether = 4;
  constexpr std::size_t kPart = std::size_t{W} << Bits;
  const std::size_t bytes = spec.code_bytes();
  const auto parts = static_cast<std::size_t>(spec.head_dim / spec.group);
  for (int t = first; t < end; t += kTogether) {
    const std::uint8_t* codes = block + static_cast<std::size_t>(t) * bytes;
    RowNumbers<W> sums[kTogether];
    const float* of_part = products;
    for (std::size_t i = 0; i < parts; ++i, of_part += kPart) {
      for (std::size_t k = 0; k < kTogether; ++k)
        sums[k].add(of_part + W * product_index(codes + k * bytes, i, Bits));
    }
    alignas(64) float numbers[kTogether * W];
    for (int k = 0; k < kTogether; ++k) sums[k].store(numbers + k * W);
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < kTogether; ++k) scores[r * kBlockTokens + t + k] = numbers[k * W + r];
    }
  }
}

template <class Call>
HWY_INLINE void with_look_up_width(int rows, const Call& call) {
  switch (look_up_width(rows)) {
    case 1:
      return call.template operator()<1>();
    case 4:
      return call.template operator()<4>();
    default:
      return call.template operator()<8>();
  }
}

template <int Bits, int Dims>
void prepare_products(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                      std::byte* prepared) {
  auto* products = reinterpret_cast<float*>(prepared);
  with_look_up_width(rows, [&]<int W>() HWY_ATTR {
    make_products<Bits, Dims, W>(self.spec, queries, stride, rows, products);
  });
}

template <int Bits>
void look_up_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                   const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const auto* products = reinterpret_cast<const float*>(prepared);
  for (std::size_t i = 0; ahead != nullptr && i < kBlockTokens * self.spec.code_bytes(); i += 64)
    __builtin_prefetch(ahead + i, 0, 2);
  with_look_up_width(rows, [&]<int W>() HWY_ATTR {
    look_up<Bits, W>(self.spec, products, rows, block, 16 * first_group, 16 * (first_group + groups), scores);
  });
}

ProductKernel product_kernel(int bits, int dims) {
  if (bits == 12) return {dims == 4 ? prepare_products<12, 4> : prepare_products<12, 8>, look_up_block<12>};
  return {dims == 4 ? prepare_products<8, 4> : prepare_products<8, 8>, look_up_block<8>};
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(product_kernel);

KeyKernel product_keys(const CodeSpec& spec) {
  const ProductKernel kernel = VELOX_DISPATCH(product_kernel)(spec.bits, spec.group);
  const std::size_t products = static_cast<std::size_t>(spec.head_dim / spec.group) << spec.bits;
  return {.prepare = kernel.prepare,
          .scores = kernel.scores,
          .spec = spec,
          .prepared_bytes = kKernelRows * products * sizeof(float),
          .tables = nullptr,
          .most_rows = kRowsBeforeTiles};
}

}  // namespace veloxquant
#endif
