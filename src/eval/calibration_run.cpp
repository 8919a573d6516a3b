#include "eval/calibration_run.hpp"

#include <algorithm>
#include <utility>

namespace veloxquant {
namespace {

std::size_t rank_of(const Communicator& ranks) { return static_cast<std::size_t>(ranks.rank()); }
std::size_t size_of(const Communicator& ranks) { return static_cast<std::size_t>(ranks.size()); }

// Probes rank, rank + size, ...: those of lower layers run through more of the model than those of upper
// ones.
template <class T>
std::vector<T> share_of(const std::vector<T>& all, const Communicator& ranks) {
  std::vector<T> own;
  for (std::size_t i = rank_of(ranks); i < all.size(); i += size_of(ranks)) own.push_back(all[i]);
  return own;
}

std::size_t share_of(std::size_t count, const Communicator& ranks) {
  return (count + size_of(ranks) - 1 - rank_of(ranks)) / size_of(ranks);
}

// A rank goes on from its own file, and only among as many others: its share is then the same.
Checkpoint checkpoint(const char* name, const CalibrationSource& source, const CalibrationRequest& request,
                      const CalibrationPlan& plan, const Communicator& ranks) {
  if (request.checkpoints.empty() || plan.options.empty()) return {{}, {}};
  const std::string key =
      fmt::format("model={} arithmetic={} windows={} text={:016x} sinks={} seed={} rank={}/{} {}",
                  source.name, source.computed, source.windows, source.text, request.sinks, request.seed,
                  ranks.rank(), ranks.size(), plan.options);
  const std::string suffix =
      ranks.size() == 1 ? "" : fmt::format(".{}-of-{}", ranks.rank() + 1, ranks.size());
  return {request.checkpoints / fmt::format("{}{}.safetensors", name, suffix), key};
}

}  // namespace

CalibrationRun::CalibrationRun(const CalibrationSource& source, const CalibrationRequest& request,
                               CalibrationPlan plan)
    : source_(source),
      request_(request),
      plan_(std::move(plan)),
      ranks_(request.ranks != nullptr ? *request.ranks : alone_),
      statistics_file_(checkpoint("statistics", source, request, plan_, ranks_)),
      weights_file_(checkpoint("weights", source, request, plan_, ranks_)),
      total_(first_window(ranks_.rank() + 1) - first_window(ranks_.rank()) + plan_.steps +
             share_of(plan_.probes, ranks_) * plan_.probe_windows) {}

std::size_t CalibrationRun::first_window(int rank) const {
  return source_.windows * static_cast<std::size_t>(rank) / size_of(ranks_);
}

void CalibrationRun::step(const std::string& stage, const std::string& item) {
  if (request_.progress) request_.progress(stage, item, done_, total_);
  ++done_;
}

void CalibrationRun::write_extent(ArtifactStore& store) const {
  store.set_fact("sinks", std::to_string(request_.sinks));
  store.set_fact("windows", std::to_string(source_.windows));
  store.set_fact("sequence_length", std::to_string(source_.tokens));
}

std::vector<double> CalibrationRun::measure(const std::vector<Probe>& probes, std::int64_t frame) {
  const std::vector<Probe> own = share_of(probes, ranks_);
  std::vector<double> known;
  if (auto kept = weights_file_.read()) known = std::move(*kept);
  done_ += known.size();
  const ProbeProgress progress{
      .begin =
          [&](std::size_t i) {
            step("sensitivity", fmt::format("group {} of {}", i + 1, own.size() * plan_.probe_windows));
          },
      .found = [&](const std::vector<double>& found) { weights_file_.write(found); }};
  std::vector<double> means;
  if (!own.empty()) {
    means =
        window_means(measure_probes(*source_.decoder, std::span(request_.windows).first(plan_.probe_windows),
                                    own, frame, request_.sinks, std::move(known), progress),
                     own.size());
  }
  std::vector<double> all(probes.size());
  ranks_.exchange(std::move(means), [&](int rank, const Communicator::Part& part) {
    for (std::size_t i = 0; i < part.size(); ++i)
      all[static_cast<std::size_t>(rank) + i * size_of(ranks_)] = part[i];
  });
  return all;
}

}  // namespace veloxquant
