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

// Mean KL in nats per predicted token of each probe, over the windows. `frame` cuts positions from `sinks`
// on, as a cache does. `step` is called before each probe.
std::vector<double> measure_probes(Decoder& decoder, std::span<const std::vector<std::uint32_t>> windows,
                                   const std::vector<Probe>& probes, std::int64_t frame, std::int64_t sinks,
                                   const std::function<void(std::size_t)>& step);

}  // namespace veloxquant
