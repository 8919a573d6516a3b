// Attention kernels on random codes: tile decoding, one decode step over a long history, prefill.
//
// The decode step goes through several layers' caches in turn, so that codes come from memory as they do in a
// model, and not from the last-level cache. Names are code/bits; rates are bytes of codes and scales (B/s)
// and, for prefill, floating-point operations of the two products (FLOP/s).
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>
#include <veloxquant/core/half.hpp>

#include "attention/attend.hpp"

namespace veloxquant {
namespace {

constexpr int kHeadDim = 128;
constexpr int kRunTokens = 64;

struct BenchCode {
  const char* name;
  CodeKind kind;
  int bits;
  int group;
};

constexpr BenchCode kCodes[] = {
    {"f16", CodeKind::f16, 16, 0},          {"bf16", CodeKind::bf16, 16, 0},
    {"fp8", CodeKind::fp8_e4m3, 8, 0},      {"q8_0", CodeKind::integer, 8, 32},
    {"q4_0", CodeKind::integer, 4, 32},     {"affine/4", CodeKind::affine, 4, 64},
    {"affine/2", CodeKind::affine, 2, 64},  {"scalar/8", CodeKind::scalar, 8, 0},
    {"scalar/5", CodeKind::scalar, 5, 0},   {"scalar/4", CodeKind::scalar, 4, 0},
    {"scalar/3", CodeKind::scalar, 3, 0},   {"scalar/2", CodeKind::scalar, 2, 0},
    {"scalar/1", CodeKind::scalar, 1, 0},   {"trellis/4", CodeKind::trellis, 4, 0},
    {"trellis/3", CodeKind::trellis, 3, 0}, {"trellis/2", CodeKind::trellis, 2, 0},
    {"trellis/1", CodeKind::trellis, 1, 0},
};

CodeSpec make_spec(const BenchCode& code) {
  CodeSpec spec{code.kind, code.bits, kHeadDim, code.group, nullptr};
  if (!spec.has_vector_scale()) return spec;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  auto table = std::make_shared<std::vector<float>>(code.kind == CodeKind::trellis ? 256u : 1u << code.bits);
  for (float& value : *table) value = std::round(normal(random) * 4096) / 4096;
  spec.table = std::move(table);
  return spec;
}

// Bytes that mean something in every code: halves (of values or of scales) between 0.5 and 1, random bits
// elsewhere.
void fill(std::vector<std::uint8_t>& bytes, bool halves, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = random();
    if (halves) word = (word & 0x03ff03ff03ff03ffu) | 0x3800380038003800u;
    std::memcpy(bytes.data() + i, &word, 8);
  }
}

// Keys and values of one KV head.
struct HeadCache {
  HeadCache(const CodeSpec& spec, int tokens, std::uint64_t seed)
      : codes(2 * static_cast<std::size_t>(tokens) * spec.code_bytes()),
        scales(2 * static_cast<std::size_t>(tokens) * spec.scale_bytes()) {
    fill(codes, spec.kind == CodeKind::f16 || spec.kind == CodeKind::bf16, seed);
    fill(scales, true, seed + 1);
    const std::size_t half_codes = codes.size() / 2, half_scales = scales.size() / 2;
    for (int t = 0; t < tokens; t += kRunTokens) {
      const std::size_t at = static_cast<std::size_t>(t) * spec.code_bytes();
      const std::size_t scale_at = static_cast<std::size_t>(t) * spec.scale_bytes();
      runs.push_back({codes.data() + at, scales.data() + scale_at, codes.data() + half_codes + at,
                      scales.data() + half_scales + scale_at, t, kRunTokens});
    }
  }

  std::vector<std::uint8_t> codes, scales;
  std::vector<TokenRun> runs;
};

// Query rows that see all tokens.
struct Queries {
  Queries(int rows, int tokens)
      : values(static_cast<std::size_t>(rows) * kHeadDim),
        begin(static_cast<std::size_t>(rows), 0),
        end(static_cast<std::size_t>(rows), tokens),
        max(static_cast<std::size_t>(rows)),
        sum(static_cast<std::size_t>(rows)),
        out(values.size()) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(random);
  }

  AttendQuery query() const {
    AttendQuery query;
    query.rows = static_cast<int>(begin.size());
    query.head_dim = kHeadDim;
    query.queries = values.data();
    query.scale = 0.0884f;
    query.begin = begin.data();
    query.end = end.data();
    return query;
  }
  AttendPartial partial() { return {max.data(), sum.data(), out.data()}; }

  std::vector<float> values;
  std::vector<std::int64_t> begin, end;
  std::vector<float> max, sum, out;
};

void decode_tile(benchmark::State& state, const BenchCode& code) {
  constexpr int kTokens = 16;
  const CodeSpec spec = make_spec(code);
  const HeadCache cache(spec, kRunTokens, 3);
  const TileDecoder decoder = tile_decoder(spec);
  std::vector<float> tile(kTokens * kHeadDim);
  for (auto _ : state) {
    decoder.decode(decoder, cache.codes.data(), cache.scales.data(), kTokens, tile.data());
    benchmark::ClobberMemory();
  }
  state.counters["time/token"] = benchmark::Counter(
      kTokens, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// 16,384 tokens, 2 KV heads, 4 query rows each: one layer of a decoding step. Layers follow one another until
// their caches hold 128 MiB or there are 32.
void decode_step(benchmark::State& state, const BenchCode& code) {
  constexpr int kTokens = 16384, kRows = 4, kHeads = 2;
  constexpr std::size_t kBytes = std::size_t{128} << 20;
  const CodeSpec spec = make_spec(code);
  const std::size_t layer_bytes = 2 * kHeads * kTokens * (spec.code_bytes() + spec.scale_bytes());
  const std::size_t layers = kBytes / layer_bytes < 32 ? kBytes / layer_bytes + 1 : 32;
  std::vector<std::unique_ptr<HeadCache>> heads;
  for (std::size_t i = 0; i < layers * kHeads; ++i)
    heads.push_back(std::make_unique<HeadCache>(spec, kTokens, 10 + i));
  const TileDecoder decoder = tile_decoder(spec);
  Queries queries(kRows, kTokens);
  AttendScratch scratch;
  std::size_t next = 0;
  for (auto _ : state) {
    for (int h = 0; h < kHeads; ++h, next = (next + 1) % heads.size()) {
      attend_runs(decoder, decoder, heads[next]->runs, queries.query(), queries.partial(), scratch);
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(layer_bytes));
  state.counters["time/token/head"] = benchmark::Counter(
      kTokens * kHeads, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// Query rows (256 are 4 heads with 64 queries each) on 4,096 tokens that all of them see.
void prefill(benchmark::State& state, const BenchCode& code) {
  constexpr int kTokens = 4096;
  const auto rows = static_cast<int>(state.range(0));
  const CodeSpec spec = make_spec(code);
  const HeadCache cache(spec, kTokens, 5);
  const TileDecoder decoder = tile_decoder(spec);
  Queries queries(rows, kTokens);
  AttendScratch scratch;
  for (auto _ : state) {
    attend_runs(decoder, decoder, cache.runs, queries.query(), queries.partial(), scratch);
    benchmark::ClobberMemory();
  }
  const double operations = 4.0 * kTokens * kHeadDim * static_cast<double>(rows);
  state.counters["FLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
}

// Runs before main(), which belongs to the benchmark library.
const bool registered = [] {
  for (const BenchCode& code : kCodes) {
    const std::string name = code.name;
    benchmark::RegisterBenchmark(("attend_tile/" + name).c_str(), decode_tile, code);
    benchmark::RegisterBenchmark(("attend_step/" + name).c_str(), decode_step, code)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("attend_prefill/" + name).c_str(), prefill, code)
        ->ArgsProduct({{256, 64, 32, 16}})
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace veloxquant
