// How much one group's error costs: the divergence with only this group coded, over what its spectrum
// predicts.
//
// The unquantized model runs over a window once and the input of every layer is kept; a probe of layer l runs
// the layers from l on again, with one head's keys or values replaced by what their codes give back.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>
#include <veloxquant/models/decoder.hpp>

#include "quantizers/spectral_head.hpp"

namespace veloxquant {

// One group to be probed.
struct Probe {
  int layer = 0;
  Role role = Role::keys;
  int head = 0;
  std::shared_ptr<const SpectralHead> coder;
};

// Mean KL in nats per predicted token of each probe, over the windows. `frame` cuts positions from `sinks`
// on, as a cache does. `step` is called before each probe.
std::vector<double> measure_probes(Decoder& decoder, std::span<const std::vector<std::uint32_t>> windows,
                                   const std::vector<Probe>& probes, std::int64_t frame, std::int64_t sinks,
                                   const std::function<void(std::size_t)>& step);

}  // namespace veloxquant
