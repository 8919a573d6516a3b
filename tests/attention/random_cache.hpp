// Random codes and queries for the attention tests.
//
// Random bytes are valid codes of every kind but the floating-point ones, which are made from normal values;
// scales are halves between 0.5 and 1. Buffers are exactly as long as the codes, so that a sanitizer sees a
// kernel that reads on.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>
#include <veloxquant/core/half.hpp>

#include "attention/attend.hpp"
#include "cpu_levels.hpp"

namespace veloxquant::test {

struct CodeChoice {
  CodeKind kind;
  int bits;
  int group;
};

inline std::vector<CodeChoice> all_codes() {
  std::vector<CodeChoice> codes = {{CodeKind::f32, 32, 0},     {CodeKind::f16, 16, 0},
                                   {CodeKind::bf16, 16, 0},    {CodeKind::fp8_e4m3, 8, 0},
                                   {CodeKind::integer, 4, 32}, {CodeKind::integer, 8, 32},
                                   {CodeKind::integer, 4, 16}, {CodeKind::integer, 8, 2},
                                   {CodeKind::affine, 4, 16},  {CodeKind::affine, 5, 2}};
  for (int bits : {2, 3, 4, 5, 6, 8}) codes.push_back({CodeKind::affine, bits, 32});
  for (int bits = 1; bits <= 8; ++bits) codes.push_back({CodeKind::scalar, bits, 0});
  for (int bits = 1; bits <= 4; ++bits) codes.push_back({CodeKind::trellis, bits, 0});
  for (int bits : {8, 12}) {
    for (int dims : {4, 8}) codes.push_back({CodeKind::product, bits, dims});
  }
  return codes;
}

inline bool exists(const CodeChoice& code, int head_dim) {
  return code.group == 0 || head_dim % code.group == 0;
}

// The table's values are multiples of 1/4096, or not: the kernels may treat the former apart.
inline CodeSpec make_spec(const CodeChoice& code, int head_dim, bool fine_table = false) {
  CodeSpec spec{code.kind, code.bits, head_dim, code.group, nullptr};
  if (spec.table_size() == 0) return spec;
  std::mt19937 random(static_cast<unsigned>(code.bits));
  std::normal_distribution<float> normal;
  auto table = std::make_shared<std::vector<float>>(spec.table_size());
  for (float& value : *table) value = fine_table ? normal(random) : std::round(normal(random) * 4096) / 4096;
  if (!fine_table && code.kind != CodeKind::product) {
    table->front() = -8.0f;
    table->back() = 32767.0f / 4096.0f;
  }
  spec.table = std::move(table);
  return spec;
}

template <class T, class Convert>
void put_normals(std::vector<std::uint8_t>& bytes, std::mt19937& random, const Convert& convert) {
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    const T value = convert(normal(random));
    std::memcpy(bytes.data() + i, &value, sizeof(T));
  }
}

inline std::vector<std::uint8_t> random_codes(const CodeSpec& spec, int count, std::mt19937& random) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count) * spec.code_bytes());
  switch (spec.kind) {
    case CodeKind::f32:
      put_normals<float>(bytes, random, [](float x) { return x; });
      break;
    case CodeKind::f16:
      put_normals<f16>(bytes, random, [](float x) { return to_f16(x); });
      break;
    case CodeKind::bf16:
      put_normals<bf16>(bytes, random, [](float x) { return to_bf16(x); });
      break;
    case CodeKind::fp8_e4m3:
      put_normals<fp8_e4m3>(bytes, random, [](float x) { return to_fp8_e4m3(x); });
      break;
    default:
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  }
  // Bits of the last byte of a vector that belong to no code are zero.
  const int fields = spec.kind == CodeKind::product ? spec.head_dim / spec.group : spec.head_dim;
  const int used = fields * spec.bits % 8;
  for (std::size_t end = spec.code_bytes(); used > 0 && end <= bytes.size(); end += spec.code_bytes()) {
    bytes[end - 1] = static_cast<std::uint8_t>(bytes[end - 1] & ((1u << used) - 1u));
  }
  return bytes;
}

// Scales of integer and affine codes are so small that their values are about 1, as those of the other codes.
inline std::vector<std::uint8_t> random_scales(const CodeSpec& spec, int count, std::mt19937& random) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count) * spec.scale_bytes());
  std::uniform_real_distribution<float> uniform(0.5f, 1.0f);
  const std::size_t per_row = spec.scale_bytes() / 2;
  const float step = spec.has_vector_scale() ? 1.0f : std::ldexp(3.0f, -spec.bits);
  for (std::size_t i = 0; 2 * i < bytes.size(); ++i) {
    const bool bias = spec.kind == CodeKind::affine && i % per_row >= per_row / 2;
    const f16 scale = to_f16(bias ? -2.0f * uniform(random) : step * uniform(random));
    std::memcpy(bytes.data() + 2 * i, &scale, 2);
  }
  return bytes;
}

// Keys and values of one KV head, in runs of 1 to 64 tokens that each have their own buffers.
class RandomCache {
 public:
  RandomCache(const CodeSpec& keys, const CodeSpec& values, int tokens, bool ragged, std::mt19937& random) {
    for (int first = 0; first < tokens;) {
      const int wanted = ragged ? 1 + static_cast<int>(random() % 64) : 64;
      const int count = std::min(wanted, tokens - first);
      Buffers& run = *buffers_.emplace_back(std::make_unique<Buffers>());
      run.codes[0] = random_codes(keys, count, random);
      run.codes[1] = random_codes(values, count, random);
      run.scales[0] = random_scales(keys, count, random);
      run.scales[1] = random_scales(values, count, random);
      runs_.push_back({run.codes[0].data(), run.scales[0].data(), run.codes[1].data(), run.scales[1].data(),
                       first, count});
      first += count;
    }
  }
  const std::vector<TokenRun>& runs() const { return runs_; }

 private:
  struct Buffers {
    std::vector<std::uint8_t> codes[2], scales[2];
  };
  std::vector<std::unique_ptr<Buffers>> buffers_;
  std::vector<TokenRun> runs_;
};

enum class Visibility { all, causal, window, some_empty, none };

// Query rows in groups: the rows of one query position see the same tokens.
struct RandomQueries {
  RandomQueries(int rows, int head_dim, int tokens, Visibility visibility, int group, std::mt19937& random)
      : dims(head_dim), values(static_cast<std::size_t>(rows * head_dim)) {
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(random);
    const int positions = (rows + group - 1) / group;
    for (int r = 0; r < rows; ++r) {
      offsets.push_back(normal(random));
      const std::int64_t seen = std::max(tokens - positions + r / group + 1, 1);
      const bool whole =
          visibility == Visibility::all || (visibility == Visibility::some_empty && r % 3 != 1);
      const bool nothing =
          visibility == Visibility::none || (visibility == Visibility::some_empty && r % 3 == 1);
      begin.push_back(visibility == Visibility::window ? std::max<std::int64_t>(seen - 37, 0)
                      : nothing                        ? 5
                                                       : 0);
      end.push_back(whole ? tokens : nothing ? 5 : std::min<std::int64_t>(seen, tokens));
    }
  }

  AttendQuery query(bool with_offsets = true) const {
    AttendQuery query;
    query.rows = static_cast<int>(begin.size());
    query.head_dim = dims;
    query.queries = values.data();
    query.key_offset = with_offsets ? offsets.data() : nullptr;
    query.scale = 1.0f / std::sqrt(static_cast<float>(dims));
    query.begin = begin.data();
    query.end = end.data();
    return query;
  }

  int dims;
  std::vector<float> values, offsets;
  std::vector<std::int64_t> begin, end;
};

// Filled with NaN, as the kernels must write all of it.
struct PartialBuffers {
  PartialBuffers(int rows, int head_dim)
      : max(static_cast<std::size_t>(rows), std::numeric_limits<float>::quiet_NaN()),
        sum(max),
        out(static_cast<std::size_t>(rows * head_dim), std::numeric_limits<float>::quiet_NaN()) {}
  AttendPartial partial() { return {max.data(), sum.data(), out.data()}; }
  std::vector<float> max, sum, out;
};

}  // namespace veloxquant::test
