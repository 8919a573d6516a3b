// Calibrations of the demo model with little text.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <veloxquant/eval/precompute.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "models/fixtures.hpp"
#include "transform/rope_turn.hpp"

namespace veloxquant::testing {

inline CalibrationRequest request_for(const Decoder& decoder, std::int64_t seq_len, std::int64_t windows) {
  const Tokenizer tokenizer = Tokenizer::load(kDemoModel / "tokenizer.json");
  const TokenIds text = tokenizer.encode(read_file(kSource / "docs/architecture.md", 1 << 24));
  CalibrationRequest request;
  request.windows = cut_windows(text, decoder.config().bos, seq_len, 0, windows);
  return request;
}

inline std::string saved(const ArtifactStore& store, const std::filesystem::path& file) {
  store.save(file);
  return read_file(file, 1 << 26);
}

// What the model computes on the request's windows, as tools/export_activations.py writes it.
inline void write_activations(Decoder& decoder, const CalibrationRequest& request,
                              const std::filesystem::path& file, bool outputs) {
  const RopeTurn turn(decoder.rope(), decoder.config().head_dim);
  NamedTensors tensors;
  const auto before_rope = [&](const Tensor& turned) {
    Tensor rows = turned.copy();
    const std::int64_t heads = rows.dim(1), tokens = rows.dim(2), dim = rows.dim(3);
    for (std::int64_t i = 0; i < heads * tokens; ++i) {
      float* row = rows.data<float>() + i * dim;
      turn.back(turn.angles(i % tokens), row, row);
    }
    return rows.reshape({heads, tokens, dim});
  };
  for (std::size_t w = 0; w < request.windows.size(); ++w) {
    const LayerObserver observer = [&](int layer, const LayerActivations& a) {
      const std::string prefix = "windows." + std::to_string(w) + ".layers." + std::to_string(layer) + ".";
      tensors.emplace_back(prefix + "queries", before_rope(a.queries));
      tensors.emplace_back(prefix + "keys", before_rope(a.keys));
      tensors.emplace_back(prefix + "values",
                           a.values.copy().reshape({a.values.dim(1), a.values.dim(2), a.values.dim(3)}));
      const Tensor squares = Tensor::zeros({a.input.dim(0)}, DType::f32);
      for (std::int64_t i = 0; i < a.input.numel(); ++i) {
        const float x = a.input.data<const float>()[i];
        squares.data<float>()[i / a.input.dim(1)] += x * x / static_cast<float>(a.input.dim(1));
      }
      tensors.emplace_back(prefix + "input", squares);
    };
    KVCacheOptions options = decoder.cache_options();
    options.keys = options.values = MethodSpec::parse("fp32");
    const auto caches = make_caches(std::make_shared<const KVCacheConfig>(options), {}, decoder.pool());
    decoder.forward_hidden(request.windows[w], caches, {.first_row = kNoRows, .observer = observer});
  }
  for (int layer = 0; outputs && layer < decoder.config().layers; ++layer)
    tensors.emplace_back("layers." + std::to_string(layer) + ".output", decoder.output_projection(layer));
  write_safetensors(file, tensors,
                    {{"veloxquant.schema", "veloxquant.activations/1"},
                     {"config", read_file(kDemoModel / "config.json", 1 << 20)},
                     {"model", decoder.fingerprint()}});
}

// All tensors whose names end in one of `kinds`, within `tolerance` of the largest number of each.
inline void expect_near(const ArtifactStore& found, const ArtifactStore& wanted,
                        std::initializer_list<const char*> kinds, float tolerance) {
  EXPECT_EQ(found.facts(), wanted.facts());
  for (const auto& [name, tensor] : wanted.tensors()) {
    if (std::ranges::none_of(kinds, [&](const char* kind) { return name.ends_with(kind); })) continue;
    const std::span<const float> want = tensor.span<const float>(),
                                 have = found.get(name, "test").span<const float>();
    ASSERT_EQ(want.size(), have.size());
    float largest = 0;
    for (const float x : want) largest = std::max(largest, std::abs(x));
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(have[i], want[i], tolerance * largest) << name << " " << i;
  }
}

}  // namespace veloxquant::testing
