#include "precompute_report.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <vector>
#include <veloxquant/core/artifact_store.hpp>

#include "core/counted.hpp"
#include "forecast_text.hpp"
#include "inputs.hpp"
#include "json_text.hpp"
#include "size_text.hpp"

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "veloxquant.precompute/1";

bool is_there(const std::filesystem::path& file) {
  std::error_code none;
  return !file.empty() && std::filesystem::exists(file, none);
}

// A run that found nothing out leaves nothing to go on from.
bool goes_on_from(const std::filesystem::path& checkpoints) {
  std::error_code none;
  return is_there(checkpoints) && !std::filesystem::is_empty(checkpoints, none) && !none;
}

// What `ratequant` says of a layer's keys or values: shares of the whole model's measured weight and of its
// proxy.
struct Share {
  std::optional<double> measured, proxy;
};
struct LayerShares {
  Share keys, values;
};

// Empty for artifacts of other methods.
std::vector<LayerShares> weight_shares(const ArtifactStore& store) {
  const auto sum = [&](std::size_t layer, Role role, const char* what) -> std::optional<double> {
    const std::string name = fmt::format("layers.{}.{}.{}", layer, to_string(role), what);
    if (!store.contains(name)) return {};
    const std::span<const float> heads = store.get(name, "precompute").span<const float>();
    return std::accumulate(heads.begin(), heads.end(), 0.0);
  };
  std::vector<LayerShares> layers;
  const auto share = [&](Role role) {
    return Share{sum(layers.size(), role, "weight"), sum(layers.size(), role, "proxy")};
  };
  while (sum(layers.size(), Role::keys, "proxy")) layers.push_back({share(Role::keys), share(Role::values)});
  for (const auto part : {&Share::measured, &Share::proxy}) {
    double whole = 0;
    for (const LayerShares& layer : layers)
      whole += (layer.keys.*part).value_or(0) + (layer.values.*part).value_or(0);
    for (LayerShares& layer : layers) {
      for (Share* own : {&layer.keys, &layer.values})
        own->*part = whole > 0 && own->*part ? std::optional(*(own->*part) / whole) : std::nullopt;
    }
  }
  return layers;
}

void print_weights(const std::vector<LayerShares>& layers) {
  if (layers.empty()) return;
  fmt::print("weights, in percent of their sum:\n  layer  keys: measured  proxy  values: measured  proxy\n");
  const auto percent = [](const std::optional<double>& share) {
    return share ? fmt::format("{:.1f}", 100 * *share) : "-";
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& [keys, values] = layers[i];
    fmt::print("  {:5}{:>16}{:>7}{:>18}{:>7}\n", i, percent(keys.measured), percent(keys.proxy),
               percent(values.measured), percent(values.proxy));
  }
}

Json weights_json(const std::vector<LayerShares>& layers) {
  const auto share = [](const Share& s) {
    return Json{{"measured", or_null(s.measured)}, {"proxy", or_null(s.proxy)}};
  };
  Json all = Json::array();
  for (const auto& [keys, values] : layers) all.push_back({{"keys", share(keys)}, {"values", share(values)}});
  return all;
}

// How to measure on what calibration has not seen of the text.
void print_rest(std::int64_t text_end, std::int64_t left) {
  constexpr std::int64_t kShortest = 1024;  // facts for recall, and a text around them
  if (left < kShortest) {
    fmt::print("{} of the text {} left, too few to measure on: give benchmark another --text\n",
               counted(left, "token"), left == 1 ? "is" : "are");
    return;
  }
  const auto length = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(left)));
  fmt::print("to measure on the rest of the same text: benchmark --skip {}{}\n", text_end,
             left >= kDefaultWindow ? "" : fmt::format(" --seq-len {} --windows {}", length, left / length));
}

}  // namespace

void print_dry_run(const DryRun& run, const std::string& format) {
  if (format == "json") {
    const Json json = {
        {"schema", kSchema},
        {"dry_run", true},
        {"method", run.method},
        {"model", or_null(run.model)},
        {"activations", or_null(run.activations)},
        {"layers", run.layers},
        {"kv_heads", run.kv_heads},
        {"head_dim", run.head_dim},
        {"arithmetic", or_null(run.arithmetic)},
        {"windows", run.windows},
        {"windows_asked", or_null(run.windows_asked)},
        {"sequence_length", run.sequence_length},
        {"artifacts", run.artifacts.string()},
        {"replaces", is_there(run.artifacts)},
        {"goes_on_from", goes_on_from(run.checkpoints) ? Json(run.checkpoints.string()) : Json()},
        {"passes", run.needs.passes},
        {"memory_bytes", run.needs.memory_bytes},
        {"artifact_bytes", run.needs.artifact_bytes}};
    fmt::print("{}", json_text(json));
    return;
  }
  fmt::print("{} {}: {}, {} of {}{}\n", run.method,
             run.model.empty() ? "from " + run.activations : "of " + run.model, counted(run.layers, "layer"),
             counted(run.kv_heads, "KV head"), run.head_dim,
             run.arithmetic.empty() ? "" : ", " + run.arithmetic + " arithmetic");
  fmt::print("{}{} of {}{}\n", run.model.empty() ? "" : "text: ", counted(run.windows, "window"),
             counted(run.sequence_length, "token"),
             run.windows_asked ? fmt::format(", {} asked for", *run.windows_asked) : "");
  fmt::print("artifacts: {}{}\n", run.artifacts.string(),
             is_there(run.artifacts) ? ", which is replaced" : "");
  if (goes_on_from(run.checkpoints))
    fmt::print("goes on from {} if that is of the same request\n", run.checkpoints.string());
  if (run.needs.passes > 0) fmt::print("passes of the model over a window: {:.1f}\n", run.needs.passes);
  fmt::print("memory{}: about {}\n", run.arithmetic.empty() ? "" : " beside the weights",
             format_size(static_cast<double>(run.needs.memory_bytes)));
  fmt::print("size of the artifacts: about {}\n", format_size(static_cast<double>(run.needs.artifact_bytes)));
}

void print_calibration(const Calibration& done, const std::string& format) {
  const std::vector<LayerShares> weights = weight_shares(done.store);
  if (format == "json") {
    const Json json = {{"schema", kSchema},
                       {"dry_run", false},
                       {"method", done.method},
                       {"artifacts", done.artifacts.string()},
                       {"artifact_bytes", done.store.nbytes()},
                       {"windows", done.windows},
                       {"sequence_length", done.sequence_length},
                       {"text_end", or_null(done.text_end)},
                       {"budget", budget_json(done.store)},
                       {"forecast", forecast_json(done.store)},
                       {"weights", weights_json(weights)}};
    fmt::print("{}", json_text(json));
    return;
  }
  fmt::print("{}: {}, {} of {}\n", done.artifacts.string(), counted(done.store.nbytes(), "byte"),
             counted(done.windows, "window"), counted(done.sequence_length, "token"));
  if (done.text_end) print_rest(*done.text_end, done.text_left);
  print_weights(weights);
  print_forecast(done.store);
}

}  // namespace veloxquant::cli
