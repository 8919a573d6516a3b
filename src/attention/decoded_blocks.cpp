#include "attention/decoded_blocks.hpp"

#include <cstring>

#include "attention/attend.hpp"
#include "attention/block_rows.hpp"
#include "attention/float_blocks.hpp"

namespace veloxquant {
namespace {

template <class Kernel>
struct DecodedTables {
  std::unique_ptr<const BlockOrder> order;
  TileDecoder decoder;  // without the vector's scale, which is the caller's
  Kernel rows;          // of the decoded rows: f32, padded with zeros to the unit of float kernels
};

template <class Kernel>
const DecodedTables<Kernel>& tables_of(const Kernel& kernel) {
  return *static_cast<const DecodedTables<Kernel>*>(kernel.tables.get());
}

template <class Kernel>
KernelTables make_tables(const CodeSpec& spec, Role role, Kernel rows) {
  CodeSpec codes = spec;
  codes.vector_scale = VectorScale::none;
  return std::make_shared<const DecodedTables<Kernel>>(
      DecodedTables<Kernel>{block_order(codes, role), tile_decoder(codes), std::move(rows)});
}

struct DecodeScratch {
  std::vector<std::uint8_t> codes;
  std::vector<float> decoded;
  AttendScratch rows;
};
thread_local DecodeScratch scratch;

// Tokens [first, first + count) of a section -> rows of `width` floats.
const float* decode_block(const BlockOrder& order, const TileDecoder& decoder, const std::uint8_t* section,
                          int first, int count, std::size_t width) {
  const auto tokens = static_cast<std::size_t>(count), dims = static_cast<std::size_t>(decoder.spec.head_dim);
  float* rows = scratch.rows.reserve(tokens * width);
  scratch.codes.resize(tokens * order.code_bytes());
  order.unpack(section, first, count, scratch.codes.data(), nullptr);
  if (width == dims) {
    decoder.decode(decoder, scratch.codes.data(), nullptr, count, rows);
    return rows;
  }
  scratch.decoded.resize(tokens * dims);
  decoder.decode(decoder, scratch.codes.data(), nullptr, count, scratch.decoded.data());
  for (std::size_t t = 0; t < tokens; ++t) {
    std::memcpy(rows + t * width, scratch.decoded.data() + t * dims, dims * sizeof(float));
    std::memset(rows + t * width + dims, 0, (width - dims) * sizeof(float));
  }
  return rows;
}

void ask_for(const std::uint8_t* section, std::size_t bytes) {
  for (std::size_t i = 0; section != nullptr && i < bytes; i += 64) __builtin_prefetch(section + i, 0, 2);
}

void prepare_decoded(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                     std::byte* prepared) {
  const KeyKernel& inner = tables_of(self).rows;
  const auto dims = static_cast<std::size_t>(self.spec.head_dim),
             width = static_cast<std::size_t>(inner.spec.head_dim), count = static_cast<std::size_t>(rows);
  std::vector<float> padded(count * width);
  for (std::size_t r = 0; r < count; ++r)
    std::memcpy(padded.data() + r * width, queries + r * stride, dims * sizeof(float));
  inner.prepare(inner, padded.data(), width, rows, prepared);
}

void score_decoded(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                   const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const auto& tables = tables_of(self);
  ask_for(ahead, kBlockTokens * self.spec.code_bytes());
  const auto width = static_cast<std::size_t>(tables.rows.spec.head_dim);
  const float* keys =
      decode_block(*tables.order, tables.decoder, block, 16 * first_group, 16 * groups, width);
  tables.rows.scores(tables.rows, prepared, rows, reinterpret_cast<const std::uint8_t*>(keys), nullptr, 0,
                     groups, scores + 16 * first_group);
}

void add_decoded(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, float* sums) {
  const auto& tables = tables_of(self);
  ask_for(ahead, kBlockTokens * self.spec.code_bytes());
  const float* values = decode_block(*tables.order, tables.decoder, block, 0, kBlockTokens,
                                     static_cast<std::size_t>(tables.rows.spec.head_dim));
  tables.rows.add(tables.rows, weights, rows, reinterpret_cast<const std::uint8_t*>(values), nullptr, sums);
}

CodeSpec decoded_rows(const CodeSpec& spec) {
  return {.kind = CodeKind::f32,
          .bits = 32,
          .head_dim = static_cast<int>(padded_row(spec.head_dim)),
          .group = 0,
          .table = {}};
}

}  // namespace

KeyKernel decoded_keys(const CodeSpec& spec) {
  KeyKernel rows = float_keys(decoded_rows(spec));
  const std::size_t prepared = rows.prepared_bytes;
  return {.prepare = prepare_decoded,
          .scores = score_decoded,
          .spec = spec,
          .prepared_bytes = prepared,
          .tables = make_tables(spec, Role::keys, std::move(rows)),
          .most_rows = kRowsBeforeTiles};
}

ValueKernel decoded_values(const CodeSpec& spec) {
  ValueKernel rows = float_values(decoded_rows(spec));
  rows.stride = padded_row(spec.head_dim);
  return {.add = add_decoded,
          .form = WeightForm::f32,
          .spec = spec,
          .tables = make_tables(spec, Role::values, std::move(rows)),
          .most_rows = kRowsBeforeTiles};
}

bool reads_decoded(const KeyKernel& kernel) { return kernel.scores == score_decoded; }
bool reads_decoded(const ValueKernel& kernel) { return kernel.add == add_decoded; }

}  // namespace veloxquant
