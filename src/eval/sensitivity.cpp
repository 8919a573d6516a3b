#include "eval/sensitivity.hpp"

#include <algorithm>
#include <utility>
#include <veloxquant/eval/divergence.hpp>

#include "eval/passes.hpp"

namespace veloxquant {
namespace {

// Replaces the tokens from `sinks` on of one head.
void code_head(const Probe& probe, const Tensor& x, std::int64_t frame, std::int64_t sinks,
               ThreadPool& pool) {
  constexpr std::int64_t kItem = 64;
  const std::int64_t tokens = x.dim(2), dim = x.dim(3);
  float* rows = x.data<float>() + static_cast<std::int64_t>(probe.head) * tokens * dim;
  const auto items = static_cast<std::size_t>((tokens - sinks + kItem - 1) / kItem);
  pool.parallel_for(items, [&](std::size_t item, int) {
    const std::int64_t begin = sinks + static_cast<std::int64_t>(item) * kItem;
    const auto count = static_cast<std::size_t>(std::min(kItem, tokens - begin));
    std::vector<TokenPlace> places(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t at = begin + static_cast<std::int64_t>(i) - sinks;
      places[i] = {.position = at + sinks, .frame_start = sinks + (frame > 0 ? at / frame * frame : 0)};
    }
    probe.recode(rows + begin * dim, places.data(), count);
  });
}

double mean_divergence(Decoder& decoder, const Tensor& reference, const Tensor& measured,
                       std::span<const std::uint32_t> ids) {
  const auto vocab = static_cast<std::size_t>(decoder.config().vocab);
  const std::size_t rows = ids.size() - 1;
  std::vector<RowDivergence> divergence(rows);
  for (std::size_t row = 0; row < rows; row += logit_rows(decoder.config().vocab)) {
    const std::size_t count = std::min(logit_rows(decoder.config().vocab), rows - row);
    const auto from = static_cast<std::int64_t>(row), to = static_cast<std::int64_t>(row + count);
    const Tensor exact = decoder.logits(reference.slice(0, from, to)),
                 other = decoder.logits(measured.slice(0, from, to));
    compare_rows(exact.data<float>(), other.data<float>(), count, vocab, &ids[row + 1], *decoder.pool(),
                 &divergence[row]);
  }
  double sum = 0;
  for (const RowDivergence& row : divergence) sum += row.kl;
  return sum / static_cast<double>(rows);
}

}  // namespace

std::vector<double> measure_probes(Decoder& decoder, std::span<const std::vector<std::uint32_t>> windows,
                                   const std::vector<Probe>& probes, std::int64_t frame, std::int64_t sinks,
                                   std::vector<double> known, const ProbeProgress& progress) {
  const int layers = decoder.config().layers;
  for (std::size_t w = known.size() / probes.size(); w < windows.size(); ++w) {
    const auto& ids = windows[w];
    std::vector<Tensor> inputs(static_cast<std::size_t>(layers));
    const LayerObserver keep = [&](int layer, const LayerActivations& a) {
      inputs[static_cast<std::size_t>(layer)] = a.input.copy();
    };
    const Tensor reference =
        decoder.forward_hidden(ids, exact_caches(decoder, layers), {.first_row = kAllRows, .observer = keep});
    for (std::size_t i = known.size() - w * probes.size(); i < probes.size(); ++i) {
      const Probe& probe = probes[i];
      if (progress.begin) progress.begin(known.size());
      const LayerEditor edit = [&](int layer, const Tensor& keys, const Tensor& values) {
        if (layer == probe.layer) {
          code_head(probe, probe.role == Role::keys ? keys : values, frame, sinks, *decoder.pool());
        }
      };
      const Tensor measured = decoder.resume_hidden(inputs[static_cast<std::size_t>(probe.layer)],
                                                    probe.layer, exact_caches(decoder, layers - probe.layer),
                                                    {.first_row = kAllRows, .observer = {}, .editor = edit});
      known.push_back(mean_divergence(decoder, reference, measured, ids));
      if (progress.found) progress.found(known);
    }
  }
  return known;
}

std::vector<double> window_means(const std::vector<double>& measured, std::size_t probes) {
  std::vector<double> means(probes, 0.0);
  for (std::size_t i = 0; i < measured.size(); ++i) means[i % probes] += measured[i];
  for (double& mean : means) mean /= static_cast<double>(measured.size() / probes);
  return means;
}

}  // namespace veloxquant
