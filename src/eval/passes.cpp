#include "eval/passes.hpp"

#include <algorithm>
#include <veloxquant/eval/divergence.hpp>

namespace veloxquant {

double prefill(Decoder& decoder, std::span<const std::uint32_t> ids, const Caches& caches, std::int64_t chunk,
               const HiddenSink& sink, const LayerObserver& observer) {
  double seconds = 0;
  const auto piece = static_cast<std::size_t>(chunk);
  for (std::size_t begin = 0; begin < ids.size(); begin += piece) {
    const auto tokens = ids.subspan(begin, std::min(piece, ids.size() - begin));
    const Stopwatch watch;
    const Tensor hidden = decoder.forward_hidden(
        tokens, caches, {.first_row = sink ? kAllRows : kLastRow, .observer = observer});
    seconds += watch.seconds();
    if (sink) sink(begin, hidden);
  }
  return seconds;
}

double decode(Decoder& decoder, std::span<const std::uint32_t> ids, const Caches& caches) {
  const Stopwatch watch;
  for (const std::uint32_t id : ids) {
    const Tensor logits = decoder.forward(std::span(&id, 1), caches);
    argmax(logits.data<float>(), static_cast<std::size_t>(logits.numel()));
  }
  return watch.seconds();
}

Caches exact_caches(const Decoder& decoder, int layers) {
  KVCacheOptions options = cache_options(decoder.config());
  options.layers = layers;
  options.keys = options.values = MethodSpec::parse("fp32");
  return make_caches(std::make_shared<const KVCacheConfig>(options), {}, decoder.pool());
}

void observe_window(Decoder& decoder, std::span<const std::uint32_t> ids, const LayerObserver& observer) {
  decoder.forward_hidden(ids, exact_caches(decoder, decoder.config().layers),
                         {.first_row = kNoRows, .observer = observer});
}

std::size_t logit_rows(std::int64_t vocab) {
  constexpr std::int64_t kFloats = 16 << 20;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(kFloats / vocab, 32, 256));
}

}  // namespace veloxquant
