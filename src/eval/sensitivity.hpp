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

// KL in nats per predicted token of each probe, window by window: [windows * probes]. `known` are the first of them,
// from an earlier run. `frame` cuts positions from `sinks` on, as a cache does. `begin` is called before each probe with
// its index, `found` after it with what is known by then.
struct ProbeProgress {
  std::function<void(std::size_t index)> begin;
  std::function<void(const std::vector<double>& known)> found;
};
std::vector<double> measure_probes(Decoder& decoder, std::span<const std::vector<std::uint32_t>> windows,
                                   const std::vector<Probe>& probes, std::int64_t frame, std::int64_t sinks,
                                   std::vector<double> known, const ProbeProgress& progress);

}  // namespace veloxquant
