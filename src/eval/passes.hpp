// Passes of the decoder over a sequence, timed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant {

using Caches = std::vector<std::unique_ptr<PackedKVCache>>;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Takes the final hidden states f32 [rows, hidden] of the tokens from index `begin` on.
using HiddenSink = std::function<void(std::size_t begin, const Tensor& hidden)>;

// Runs `ids` in pieces of `chunk` tokens. Returns the seconds spent in the layers, those of `sink` and of the
// output matrix not counted. `sink` and `observer` may be null.
double prefill(Decoder& decoder, std::span<const std::uint32_t> ids, const Caches& caches, std::int64_t chunk,
               const HiddenSink& sink = {}, const LayerObserver& observer = {});

// Runs `ids` one by one after what the caches hold, each to its most probable next token. Returns the
// seconds.
double decode(Decoder& decoder, std::span<const std::uint32_t> ids, const Caches& caches);

// Caches of the unquantized model: f32, for `layers` of its layers.
Caches exact_caches(const Decoder& decoder, int layers);
// Runs the unquantized model over a window in one piece, for what `observer` sees.
void observe_window(Decoder& decoder, std::span<const std::uint32_t> ids, const LayerObserver& observer);

// Rows of logits computed at once: as many as stay within some tens of megabytes.
std::size_t logit_rows(std::int64_t vocab);

}  // namespace veloxquant
