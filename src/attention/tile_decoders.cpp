// Tile decoders: one for each code and CPU level.
//
// Rows of head_dim floats are written in blocks of 16; a last, shorter block goes through a buffer. Reading
// is in whole vectors too, so the last rows of a tile, whose vectors would reach beyond it, are decoded from
// a copy.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

#include "attention/attend.hpp"
#include "attention/attend_run.hpp"
#include "attention/trellis_vbmi.hpp"
#include "codebook/product_table.hpp"
#include "codebook/row_code.hpp"
#include "codebook/trellis.hpp"
#include "core/dispatch.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/tile_decoders.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/float_values-inl.hpp"
#include "attention/unpack-inl.hpp"

#ifndef VELOXQUANT_TILE_DECODERS_ONCE
#define VELOXQUANT_TILE_DECODERS_ONCE
namespace veloxquant {

inline constexpr int kBlock = 16;  // floats written at a time; every group of a code is a multiple of it

}  // namespace veloxquant
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// ---- f32, f16, bf16, fp8: a tile is one row of count * head_dim values.

template <class Values>
void decode_values(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t*, int count,
                   float* tile) {
  using Stored = typename Values::Stored;
  const std::size_t total = static_cast<std::size_t>(count) * static_cast<std::size_t>(self.spec.head_dim);
  std::size_t i = 0;
  for (; i + kLanes <= total; i += kLanes) {
    auto values = Values::load(codes + i * sizeof(Stored));
    if constexpr (Values::kScale != 1) values = hn::Mul(values, hn::Set(Floats(), Values::kScale));
    hn::StoreU(values, Floats(), tile + i);
  }
  for (; i < total; ++i) {
    Stored value;
    std::memcpy(&value, codes + i * sizeof(Stored), sizeof(Stored));
    tile[i] = to_f32(value);
  }
}

void copy_values(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t*, int count,
                 float* tile) {
  std::memcpy(tile, codes, static_cast<std::size_t>(count) * self.spec.code_bytes());
}

// ---- Codes of fields.

// row[b * 16 + j * kLanes ...] <- block(b, j) for all blocks b.
template <class Block>
HWY_INLINE void write_row(std::size_t head_dim, float* row, const Block& block) {
  const Floats d;
  const std::size_t blocks = head_dim / kBlock, rest = head_dim % kBlock;
  for (std::size_t b = 0; b < blocks; ++b, row += kBlock) {
    for (int j = 0; j < kBlock / kLanes; ++j) hn::StoreU(block(b, j), d, row + j * kLanes);
  }
  if (rest == 0) return;
  alignas(64) float last[kBlock];
  for (int j = 0; j < kBlock / kLanes; ++j) hn::Store(block(blocks, j), d, last + j * kLanes);
  std::memcpy(row, last, sizeof(float) * rest);
}

// Rows of codes of which a whole number of blocks may be read.
class PaddedRows {
 public:
  HWY_INLINE PaddedRows(const CodeSpec& spec, const std::uint8_t* codes, int count)
      : codes_(codes), row_bytes_(tile_row_bytes(spec)), end_(row_bytes_ * static_cast<std::size_t>(count)) {}

  HWY_INLINE const std::uint8_t* row(int t) {
    const std::size_t begin = static_cast<std::size_t>(t) * row_bytes_;
    if (begin + row_bytes_ + kReach <= end_) return codes_ + begin;
    return copy_row(t);
  }

  // A copy that goes on with the first 8 bits of the row after its last, `bits` bits in all; of a part, with the byte
  // that it has.
  HWY_INLINE const std::uint8_t* cyclic_row(int t, std::size_t bits) {
    copy_row(t);
    if (row_bytes_ > (bits + 7) / 8) return copy_;
    const std::size_t used = bits % 8, end = bits / 8;
    const unsigned last = copy_[end] & ((1u << used) - 1u), first = copy_[0];
    copy_[end] = static_cast<std::uint8_t>(last | (first << used));
    copy_[end + 1] = static_cast<std::uint8_t>(first >> (8 - used));
    return copy_;
  }

 private:
  HWY_INLINE const std::uint8_t* copy_row(int t) {
    std::memcpy(copy_, codes_ + static_cast<std::size_t>(t) * row_bytes_, row_bytes_);
    std::memset(copy_ + row_bytes_, 0, kReach);
    return copy_;
  }

  // A block is read as 16 bytes, and the last one may begin at the last byte of the row.
  static constexpr std::size_t kReach = 16;
  const std::uint8_t* codes_;
  std::size_t row_bytes_, end_;
  std::uint8_t copy_[kMaxCachedHeadDim + kReach];
};

template <int Bits>
void decode_scalar(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t*, int count,
                   float* tile) {
  const auto head_dim = static_cast<std::size_t>(self.spec.head_dim);
  const FloatTable<Bits> table(self.spec.table->data());
  PaddedRows rows(self.spec, codes, count);
  for (int t = 0; t < count; ++t, tile += head_dim) {
    const std::uint8_t* row = rows.row(t);
    write_row(head_dim, tile, [row, &table](std::size_t b, int j) HWY_ATTR {
      return table.at(unpack_fields<Bits, Bits>(row + b * (2 * Bits), j));
    });
  }
}

template <int Bits>
void decode_trellis(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t*, int count,
                    float* tile) {
  const auto head_dim = static_cast<std::size_t>(self.spec.head_dim);
  const FloatTable<8> table(self.spec.table->data());
  PaddedRows rows(self.spec, codes, count);
  for (int t = 0; t < count; ++t, tile += head_dim) {
    const std::uint8_t* row = rows.cyclic_row(t, head_dim * Bits);
    write_row(head_dim, tile, [row, &table](std::size_t b, int j) HWY_ATTR {
      return table.at(unpack_fields<Bits, 8>(row + b * (2 * Bits), j));
    });
  }
}

// ---- Codes of fields with a scale for each group of coordinates.

// The f16 scales of the rows of a tile as floats, converted some rows at a time.
class RowScales {
 public:
  HWY_INLINE RowScales(const CodeSpec& spec, const std::uint8_t* scales, int count)
      : scales_(scales),
        per_row_(spec.scale_bytes() / 2),
        left_(per_row_ * static_cast<std::size_t>(count)) {}

  // The scales of the next row.
  HWY_INLINE const float* next() {
    if (at_ == held_) convert();
    const float* row = values_ + at_;
    at_ += per_row_;
    return row;
  }

 private:
  static constexpr std::size_t kHeld = 512;

  HWY_INLINE void convert() {
    held_ = left_ < kHeld ? left_ : kHeld / per_row_ * per_row_;
    std::size_t i = 0;
    for (; i + kLanes <= held_; i += kLanes)
      hn::Store(load_f16(Floats(), scales_ + 2 * i), Floats(), values_ + i);
    for (; i < held_; ++i) {
      f16 scale;
      std::memcpy(&scale, scales_ + 2 * i, sizeof(scale));
      values_[i] = to_f32(scale);
    }
    scales_ += 2 * held_;
    left_ -= held_;
    at_ = 0;
  }

  const std::uint8_t* scales_;
  std::size_t per_row_, left_, held_ = 0, at_ = 0;
  alignas(64) float values_[kHeld];
};

HWY_INLINE FloatVector to_floats(WordVector words) {
  return hn::ConvertTo(Floats(), hn::BitCast(hn::RebindToSigned<Floats>(), words));
}

// tile[t, b * 16 + j * kLanes ...] <- value(row of codes, b, j, scale of the group of block b) for all blocks
// b.
template <class Value>
HWY_INLINE void decode_groups(const CodeSpec& spec, const std::uint8_t* codes, const std::uint8_t* scales,
                              int count, float* tile, const Value& value) {
  const std::size_t blocks = static_cast<std::size_t>(spec.head_dim / kBlock);
  const std::size_t in_group = static_cast<std::size_t>(spec.group / kBlock);
  PaddedRows rows(spec, codes, count);
  RowScales row_scales(spec, scales, count);
  for (int t = 0; t < count; ++t) {
    const std::uint8_t* row = rows.row(t);
    const float* scale = row_scales.next();
    for (std::size_t first = 0; first < blocks; first += in_group, ++scale) {
      for (std::size_t b = first; b < first + in_group; ++b, tile += kBlock) {
        for (int j = 0; j < kBlock / kLanes; ++j)
          hn::StoreU(value(row, b, j, scale), Floats(), tile + j * kLanes);
      }
    }
  }
}

void decode_bytes(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t* scales, int count,
                  float* tile) {
  decode_groups(self.spec, codes, scales, count, tile,
                [](const std::uint8_t* row, std::size_t b, int j, const float* scale) HWY_ATTR {
                  const Floats d;
                  const hn::RebindToSigned<Floats> di;
                  const hn::Rebind<std::int8_t, Floats> db;
                  const auto* bytes = reinterpret_cast<const std::int8_t*>(row + b * kBlock + j * kLanes);
                  const auto q = hn::PromoteTo(di, hn::LoadU(db, bytes));
                  return hn::Mul(hn::ConvertTo(d, q), hn::Set(d, *scale));
                });
}

void decode_nibbles(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t* scales, int count,
                    float* tile) {
  decode_groups(self.spec, codes, scales, count, tile,
                [](const std::uint8_t* row, std::size_t b, int j, const float* scale) HWY_ATTR {
                  const Floats d;
                  const auto q =
                      hn::Sub(to_floats(unpack_fields<4, 4>(row + b * (kBlock / 2), j)), hn::Set(d, 8.0f));
                  return hn::Mul(q, hn::Set(d, *scale));
                });
}

template <int Bits>
void decode_affine(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t* scales, int count,
                   float* tile) {
  const int groups = self.spec.head_dim / self.spec.group;
  decode_groups(self.spec, codes, scales, count, tile,
                [groups](const std::uint8_t* row, std::size_t b, int j, const float* scale) HWY_ATTR {
                  const Floats d;
                  const auto u = to_floats(unpack_fields<Bits, Bits>(row + b * (2 * Bits), j));
                  return hn::MulAdd(u, hn::Set(d, *scale), hn::Set(d, scale[groups]));
                });
}

// ---- Indices of centroids.

// Centroids of Dims floats, 4 or 8, are written by whole vectors of as many lanes.
template <int Bits, int Dims>
void decode_product(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t*, int count,
                    float* tile) {
  const hn::CappedTag<float, Dims> d;
  constexpr int kStep = static_cast<int>(hn::MaxLanes(hn::CappedTag<float, Dims>()));
  const float* centroids = self.spec.table->data();
  const auto parts = static_cast<std::size_t>(self.spec.head_dim / Dims);
  for (int t = 0; t < count; ++t, codes += self.spec.code_bytes()) {
    for (std::size_t i = 0; i < parts; ++i, tile += Dims) {
      const float* centroid = centroids + product_index(codes, i, Bits) * Dims;
      for (int c = 0; c < Dims; c += kStep) hn::StoreU(hn::LoadU(d, centroid + c), d, tile + c);
    }
  }
}

// ---- The choice.

TileDecoder::Function find_scalar(int bits) {
  constexpr TileDecoder::Function by_bits[] = {decode_scalar<1>, decode_scalar<2>, decode_scalar<3>,
                                               decode_scalar<4>, decode_scalar<5>, decode_scalar<6>,
                                               decode_scalar<7>, decode_scalar<8>};
  return by_bits[bits - 1];
}

TileDecoder::Function find_trellis(const CodeSpec& spec) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
  if (const TileDecoder::Function decode = find_trellis_vbmi(spec)) return decode;
#endif
  constexpr TileDecoder::Function by_bits[] = {decode_trellis<1>, decode_trellis<2>, decode_trellis<3>,
                                               decode_trellis<4>};
  return by_bits[spec.bits - 1];
}

TileDecoder::Function find_affine(int bits) {
  constexpr TileDecoder::Function by_bits[] = {decode_affine<2>, decode_affine<3>, decode_affine<4>,
                                               decode_affine<5>, decode_affine<6>, nullptr,
                                               decode_affine<8>};
  return by_bits[bits - 2];
}

TileDecoder::Function find_product(const CodeSpec& spec) {
  if (spec.bits == 12) return spec.group == 4 ? decode_product<12, 4> : decode_product<12, 8>;
  return spec.group == 4 ? decode_product<8, 4> : decode_product<8, 8>;
}

// Null for codes that have no vector decoder: those of several widths, and vectors with a gain.
TileDecoder::Function find_decoder(const CodeSpec& spec) {
  if (spec.kind == CodeKind::product) return find_product(spec);
  if (spec.kind >= CodeKind::scalar && spec.vector_scale == VectorScale::gain) return nullptr;
  const bool whole_groups = spec.group > 0 && spec.group % kBlock == 0 && spec.head_dim % spec.group == 0;
  switch (spec.kind) {
    case CodeKind::f32:
      return copy_values;
    case CodeKind::f16:
      return decode_values<HalfValues>;
    case CodeKind::bf16:
      return decode_values<BrainValues>;
    case CodeKind::fp8_e4m3:
      return decode_values<Fp8Values>;
    case CodeKind::integer:
      return !whole_groups ? nullptr : spec.bits == 8 ? decode_bytes : decode_nibbles;
    case CodeKind::affine:
      return whole_groups ? find_affine(spec.bits) : nullptr;
    case CodeKind::scalar:
      return find_scalar(spec.bits);
    case CodeKind::trellis:
      return find_trellis(spec);
    case CodeKind::mixed:
    case CodeKind::product:
      return nullptr;
  }
  return nullptr;
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {
namespace {

HWY_EXPORT(find_decoder);

// Row by row, scales included.
void decode_by_definition(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t* scales,
                          int count, float* tile) {
  for (int t = 0; t < count; ++t, tile += self.spec.head_dim) {
    decode_row(self.spec, codes, scales, tile);
    codes += self.spec.code_bytes();
    scales += self.spec.scale_bytes();
  }
}

// Run by run into a buffer, with the vector's gain.
void decode_mixed(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t* scales, int count,
                  float* tile) {
  thread_local std::vector<std::uint8_t> run_codes;
  thread_local std::vector<float> run_rows;
  const auto tokens = static_cast<std::size_t>(count), dims = static_cast<std::size_t>(self.spec.head_dim);
  const std::size_t bytes = self.spec.code_bytes(), scale_bytes = self.spec.scale_bytes();
  std::size_t first = 0, skipped = 0;
  for (const TileDecoder& run : *self.runs) {
    const auto width = static_cast<std::size_t>(run.spec.head_dim);
    const std::size_t own = run.spec.code_bytes(), row = tile_row_bytes(run.spec);
    run_codes.resize(tokens * row);
    run_rows.resize(tokens * width);
    for (std::size_t t = 0; t < tokens; ++t) {
      const std::uint8_t* from = codes + t * bytes + skipped;
      std::uint8_t* to = run_codes.data() + t * row;
      std::memcpy(to, from, own);
      if (run.spec.is_part()) to[own] = from[run.spec.behind.offset];
    }
    run.decode(run, run_codes.data(), nullptr, count, run_rows.data());
    for (std::size_t t = 0; t < tokens; ++t) {
      const float gain = scale_bytes > 0 ? gain_value(scales[t * scale_bytes] % kGainSteps) : 1.0f;
      const float* from = run_rows.data() + t * width;
      float* to = tile + t * dims + first;
      for (std::size_t c = 0; c < width; ++c) to[c] = gain * from[c];
    }
    first += width;
    skipped += own;
  }
}

bool bits_exist(CodeKind kind, int bits) {
  switch (kind) {
    case CodeKind::f32:
      return bits == 32;
    case CodeKind::f16:
    case CodeKind::bf16:
      return bits == 16;
    case CodeKind::fp8_e4m3:
      return bits == 8;
    case CodeKind::integer:
      return bits == 4 || bits == 8;
    case CodeKind::affine:
      return (bits >= 2 && bits <= 6) || bits == 8;
    case CodeKind::scalar:
      return bits >= 1 && bits <= 8;
    case CodeKind::trellis:
      return bits >= 1 && bits <= 4;
    case CodeKind::mixed:
      return bits == 0;
    case CodeKind::product:
      return bits == 8 || bits == 12;
  }
  return false;
}

void check(const CodeSpec& spec);

template <class Refuse>
void check_runs(const CodeSpec& spec, const Refuse& refuse) {
  const auto is_trellis = [](const CodeRun& run) { return run.kind == CodeKind::trellis; };
  const auto runs = std::count_if(spec.runs.begin(), spec.runs.end(), is_trellis);
  const int unit = trellis_unit(static_cast<std::size_t>(runs));
  int dims = 0;
  for (std::size_t i = 0; i < spec.runs.size(); ++i) {
    const CodeRun& run = spec.runs[i];
    if (run.kind != CodeKind::scalar && !is_trellis(run))
      refuse(fmt::format("a run of kind {}; it is scalar or trellis", to_string(run.kind)));
    if (is_trellis(run) && (run.count < 8 || run.count % unit != 0))
      refuse(fmt::format("a trellis run of {} coordinates; it has a multiple of {}, 8 or more", run.count,
                         unit));
    check(spec.of_run(i));
    dims += run.count;
  }
  if (dims != spec.head_dim)
    refuse(fmt::format("runs of {} coordinates in all, but a head_dim of {}", dims, spec.head_dim));
}

// A quantizer from outside may fill in its CodeSpec as it likes.
void check(const CodeSpec& spec) {
  const auto refuse = [&spec](const std::string& what) {
    throw ConfigError("attend", fmt::format("code '{}': {}", spec.name(), what));
  };
  if (!bits_exist(spec.kind, spec.bits)) refuse(fmt::format("there is no such code with {} bits", spec.bits));
  if (spec.head_dim < 1 || spec.head_dim > kMaxCachedHeadDim) {
    refuse(fmt::format("head_dim {} is outside 1..{}", spec.head_dim, kMaxCachedHeadDim));
  }
  const bool grouped = spec.kind == CodeKind::integer || spec.kind == CodeKind::affine;
  if (grouped && (spec.group < 1 || spec.head_dim % spec.group != 0)) {
    refuse(fmt::format("group {} does not divide head_dim {}", spec.group, spec.head_dim));
  }
  if (spec.kind == CodeKind::mixed) check_runs(spec, refuse);
  if (spec.kind == CodeKind::product &&
      ((spec.group != 4 && spec.group != 8) || spec.head_dim % spec.group != 0)) {
    refuse(fmt::format("sub-vectors of {} coordinates; it is 4 or 8, and divides head_dim {}", spec.group,
                       spec.head_dim));
  }
  if (spec.table_size() == 0) return;
  const std::size_t wanted = spec.table_size();
  const std::size_t held = spec.table ? spec.table->size() : 0;
  if (held != wanted) refuse(fmt::format("its table holds {} values, not {}", held, wanted));
}

TileDecoder decoder_of(const CodeSpec& spec) {
  TileDecoder decoder;
  decoder.spec = spec;
  decoder.decode = VELOX_DISPATCH(find_decoder)(spec);
  decoder.vector_scale = decoder.decode != nullptr && spec.has_vector_scale();
  if (spec.kind == CodeKind::mixed && (!spec.has_vector_scale() || spec.vector_scale == VectorScale::gain)) {
    std::vector<TileDecoder> runs;
    for (std::size_t i = 0; i < spec.runs.size(); ++i) runs.push_back(decoder_of(spec.of_run(i)));
    decoder.runs = std::make_shared<const std::vector<TileDecoder>>(std::move(runs));
    decoder.decode = decode_mixed;
  }
  if (decoder.decode == nullptr) decoder.decode = decode_by_definition;
  return decoder;
}

}  // namespace

TileDecoder tile_decoder(const CodeSpec& spec) {
  check(spec);
  if (spec.is_part())
    throw ConfigError("attend",
                      fmt::format("code '{}' is a run of another code, no code of its own", spec.name()));
  return decoder_of(spec);
}

TileDecoder tile_decoder(const CodeSpec& spec, const CodedBasis& basis, FrameProducts products) {
  TileDecoder decoder = tile_decoder(spec);
  decoder.basis = &basis;
  decoder.products = products;
  return decoder;
}

TileDecoder tile_decoder(const VectorQuantizer& quantizer, int head) {
  TileDecoder decoder;
  decoder.quantizer = &quantizer;
  decoder.head = head;
  decoder.spec.head_dim = quantizer.head_dim();
  return decoder;
}

}  // namespace veloxquant
#endif
