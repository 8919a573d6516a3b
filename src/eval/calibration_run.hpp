// The way of every calibration: windows are gone through, then groups may be probed. Each rank takes its
// share of both, keeps what it has found out in checkpoints, and has the findings of all ranks in the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "calibration/state.hpp"
#include "eval/calibration_source.hpp"
#include "eval/checkpoint.hpp"
#include "eval/sensitivity.hpp"

namespace veloxquant {

struct CalibrationPlan {
  std::string options;     // of the method, all that its findings depend on; empty: no checkpoints are kept
  std::size_t steps = 0;   // that every rank does for itself
  std::size_t probes = 0;  // 0: weights are not measured
  std::size_t probe_windows = 0;
};

class CalibrationRun {
 public:
  // Refers to `source` and `request`.
  CalibrationRun(const CalibrationSource& source, const CalibrationRequest& request, CalibrationPlan plan);

  // Tells the progress: what comes next.
  void step(const std::string& stage, const std::string& item);
  // The rank that writes the artifacts.
  bool leads() const noexcept { return ranks_.rank() == 0; }

  // The facts `sinks`, `windows` and `sequence_length`: what the artifacts go by.
  void write_extent(ArtifactStore& store) const;

  // Adds all windows to `statistics`, which is empty. Statistics has add(window, layer, activations),
  // merge(statistics), save(StateWriter&) and restore(StateReader&).
  template <class Statistics>
  void gather(const std::string& stage, Statistics& statistics);

  // KL in nats per token of each probe, the mean over the plan's windows. `probes` are as many as the plan
  // says; `frame` as in measure_probes().
  std::vector<double> measure(const std::vector<Probe>& probes, std::int64_t frame);

 private:
  std::size_t first_window(int rank) const;

  const CalibrationSource& source_;
  const CalibrationRequest& request_;
  CalibrationPlan plan_;
  Alone alone_;
  Communicator& ranks_;
  Checkpoint statistics_file_, weights_file_;
  std::size_t done_ = 0, total_ = 0;
};

template <class Statistics>
std::vector<double> state_of(const Statistics& statistics) {
  StateWriter out;
  statistics.save(out);
  return out.take();
}

template <class Statistics>
void restore(Statistics& statistics, std::span<const double> state) {
  StateReader in(state);
  statistics.restore(in);
  in.finish();
}

template <class Statistics>
void CalibrationRun::gather(const std::string& stage, Statistics& statistics) {
  const std::size_t first = first_window(ranks_.rank()), last = first_window(ranks_.rank() + 1);
  std::size_t window = first;
  if (const auto kept = statistics_file_.read()) {
    window = static_cast<std::size_t>(kept->front());
    restore(statistics, std::span(*kept).subspan(1));
    done_ = window - first;
  }
  for (; window < last; ++window) {
    step(stage, fmt::format("window {} of {}", window + 1, source_.windows));
    source_.run(window, [&](int layer, const HeadActivations& a) { statistics.add(window, layer, a); });
    if (!statistics_file_.keeps()) continue;
    StateWriter out;
    out.put(static_cast<double>(window + 1));
    statistics.save(out);
    statistics_file_.write(out.take());
  }
  if (ranks_.size() == 1) return;
  ranks_.exchange(state_of(statistics), [&](int rank, const Communicator::Part& state) {
    if (rank == 0) return restore(statistics, state);
    Statistics part = statistics;
    restore(part, state);
    statistics.merge(part);
  });
}

}  // namespace veloxquant
