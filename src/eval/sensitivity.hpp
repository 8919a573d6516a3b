// How much one group's error costs: the divergence with only this group coded. Methods that spread a budget over a
// model weigh their groups by it.
//
// The unquantized model runs over a window once and the input of every layer is kept; a probe of layer l runs
// the layers from l on again, with one head's keys or values replaced by what their codes give back.
#pragma once

#include <functional>
#include <span>
#include <vector>
#include <veloxquant/models/decoder.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {

// Replaces `count` rows [count, head_dim], standing at `places`, by what their codes give back; called from several
// threads at once.
using RowRecoder = std::function<void(float* rows, const TokenPlace* places, std::size_t count)>;

// One group to be probed.
struct Probe {
  int layer = 0;
  Role role = Role::keys;
  int head = 0;
  RowRecoder recode;
};

// KL in nats per predicted token of each probe, window by window: [windows * probes]. `known` are the first of them,
// from an earlier run. `frame` cuts positions from `sinks` on, as a cache does. `begin` is called before each probe with
// its index, `found` after it with what is known by then; both may be null.
struct ProbeProgress {
  std::function<void(std::size_t index)> begin;
  std::function<void(const std::vector<double>& known)> found;
};
std::vector<double> measure_probes(Decoder& decoder, std::span<const std::vector<std::uint32_t>> windows,
                                   const std::vector<Probe>& probes, std::int64_t frame, std::int64_t sinks,
                                   std::vector<double> known, const ProbeProgress& progress);

// The mean over the windows of each of so many probes.
std::vector<double> window_means(const std::vector<double>& measured, std::size_t probes);

}  // namespace veloxquant
