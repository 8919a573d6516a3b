// `veloxquant plan`: what the caches of a model would hold, and the longest context that fits, before
// anything runs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/forecast.hpp>
#include <veloxquant/io/sharded_safetensors.hpp>
#include <veloxquant/models/model_config.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "artifacts.hpp"
#include "benchmark_methods.hpp"
#include "command.hpp"
#include "core/counted.hpp"
#include "core/quote.hpp"
#include "error_text.hpp"
#include "inputs.hpp"
#include "json_text.hpp"
#include "models/weights.hpp"
#include "size_text.hpp"

namespace veloxquant::cli {
namespace {

constexpr std::int64_t kLongestContext = std::int64_t{1} << 40;

struct PlanOptions {
  std::string model, method = "turboquant_mse", artifacts, memory, format = "table";
  double bits = 0, value_bits = 0;
  int batch = 1;
  std::int64_t context = 0, sinks = 0, recent = 0;
};

struct LayerPlan {
  std::string keys, values, attention;
  std::vector<std::string> key_codes{}, value_codes{};  // by KV head, of calibrated methods
  std::string widths{};                                 // the same in short: "keys 2 3 / values 1 1"
  double bits_per_element = 0;
  std::uint64_t bytes_per_token = 0;  // codes and scales, all heads, one row of the batch
  std::size_t alike = 0;              // the first layer that has the same methods

  bool operator==(const LayerPlan&) const = default;
};

// The width of a code; of one with runs of several widths, its bits per element with the gain.
std::string width_of(const VectorQuantizer& method, int head) {
  const CodeSpec* code = method.code_spec(head);
  if (code != nullptr && code->kind != CodeKind::mixed) return std::to_string(code->bits);
  const double bytes = static_cast<double>(method.code_bytes(head)) + (method.gain_scale(head) ? 0.5 : 0.0);
  return fmt::format("{:.2f}", 8 * bytes / method.head_dim());
}

// What the calibration chose; nothing for methods that are the same for all heads.
void describe_heads(const LayerMethods& m, int heads, LayerPlan& layer) {
  std::vector<std::string> key_widths, value_widths;
  for (int head = 0; head < heads; ++head) {
    const auto code = [&](const VectorQuantizer& method) {
      const CodeSpec* spec = method.code_spec(head);
      return spec != nullptr ? spec->name() : std::string("its own");
    };
    layer.key_codes.push_back(code(*m.keys));
    layer.value_codes.push_back(code(*m.values));
    key_widths.push_back(width_of(*m.keys, head));
    value_widths.push_back(width_of(*m.values, head));
  }
  layer.widths = fmt::format("keys {} / values {}", fmt::join(key_widths, " "), fmt::join(value_widths, " "));
}

class Plan {
 public:
  Plan(const KVCacheConfig& config, std::vector<LayerMethods> methods)
      : config_(config), methods_(std::move(methods)) {
    const int heads = config.options().kv_heads;
    for (std::size_t i = 0; i < methods_.size(); ++i) {
      const auto same = [&](const LayerMethods& m) {
        return m.keys == methods_[i].keys && m.values == methods_[i].values;
      };
      const auto first =
          static_cast<std::size_t>(std::find_if(methods_.begin(), methods_.end(), same) - methods_.begin());
      if (first < i) {
        layers_.push_back(layers_[first]);
        continue;
      }
      const LayerMethods& m = methods_[i];
      layers_.push_back(
          {.keys = config.method(static_cast<int>(i), Role::keys).to_string(),
           .values = config.method(static_cast<int>(i), Role::values).to_string(),
           .attention = attention_path(m, heads),
           .bits_per_element = 4.0 * static_cast<double>(m.token_bytes(heads)) / (heads * m.keys->head_dim()),
           .bytes_per_token = m.token_bytes(heads),
           .alike = i});
      const KVCacheOptions& o = config.options();
      if (QuantizerRegistry::info(o.keys.method).reads_artifacts ||
          QuantizerRegistry::info(o.values.method).reads_artifacts)
        describe_heads(m, heads, layers_.back());
    }
  }

  const std::vector<LayerPlan>& layers() const { return layers_; }
  std::uint64_t table_bytes() const { return method_bytes(methods_); }
  std::uint64_t bytes_per_token() const {
    std::uint64_t bytes = 0;
    for (const LayerPlan& layer : layers_) bytes += layer.bytes_per_token;
    return bytes;
  }

  // What the caches of all layers hold; kUncountable above kLargestSize.
  static constexpr std::uint64_t kUncountable = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t cache_bytes(std::int64_t context) const {
    const KVCacheOptions& o = config_.options();
    const double exact = 8.0 * o.kv_heads * o.head_dim * static_cast<double>(methods_.size()) *
                         static_cast<double>(o.sinks + o.recent);
    const double coded = static_cast<double>(bytes_per_token()) * static_cast<double>(context);
    if ((exact + coded) * o.batch > kLargestSize) return kUncountable;
    std::vector<std::uint64_t> bytes;
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      bytes.push_back(layers_[i].alike < i ? bytes[layers_[i].alike]
                                           : PackedKVCache::nbytes_of(config_, methods_[i], context));
      all += bytes.back();
    }
    return all;
  }

  // That fits into so many bytes beside the tables.
  std::int64_t longest_context(std::uint64_t memory) const {
    const std::uint64_t budget = memory - std::min(memory, table_bytes());
    std::int64_t low = 0, high = kLongestContext;
    while (low < high) {
      const std::int64_t middle = (low + high + 1) / 2;
      if (cache_bytes(middle) <= budget)
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  }

 private:
  const KVCacheConfig& config_;
  std::vector<LayerMethods> methods_;
  std::vector<LayerPlan> layers_;
};

MethodDefaults method_defaults(const PlanOptions& o) {
  MethodDefaults defaults;
  if (o.bits != 0) defaults.bits = o.bits;
  if (o.value_bits != 0) defaults.value_bits = o.value_bits;
  return defaults;
}

// Nothing when the folder has none: a plan needs the shapes only.
std::optional<std::uint64_t> weight_bytes(const std::string& model) {
  try {
    const auto shards = ShardedSafetensors::open(model);
    std::uint64_t bytes = 0;
    for (const std::string& name : shards.names()) bytes += shards.info(name).end - shards.info(name).begin;
    return bytes;
  } catch (const ModelError&) {
    return std::nullopt;
  }
}

struct Figures {
  std::int64_t context = 0;
  std::uint64_t bytes_per_token = 0, fp16_bytes_per_token = 0, cache_bytes = 0, budget = 0;
  std::optional<std::uint64_t> weights;
  std::optional<double> forecast_kl;
  std::string artifacts_model;  // fingerprint of the model that the artifacts are of; empty without artifacts
  bool compared = false;        // with the model's own
};

// Throws ArtifactError when the artifacts are of another model, as far as the folder has weights to tell.
void compare_models(const PlanOptions& o, const ModelConfig& model, const BenchmarkMethod& method,
                    const ArtifactStore& artifacts, Figures& f) {
  const auto fact = artifacts.facts().find("model");
  f.artifacts_model = fact == artifacts.facts().end() ? "unknown" : fact->second;
  if (!weight_bytes(o.model)) return;
  require_model(artifacts, artifacts_for(o.artifacts, method),
                model_fingerprint(model, ShardedSafetensors::open(o.model)));
  f.compared = true;
}

// 0 where the weights do not fit; nothing where they are not known.
std::optional<std::int64_t> beside_weights(const Plan& plan, const Figures& f) {
  if (f.budget == 0 || !f.weights) return std::nullopt;
  return plan.longest_context(f.budget - std::min(f.budget, *f.weights));
}

void print_plan_json(const PlanOptions& o, const Plan& plan, const Figures& f) {
  nlohmann::ordered_json json = {{"schema", "veloxquant.plan/1"},
                                 {"model", o.model},
                                 {"layers", nlohmann::ordered_json::array()},
                                 {"batch", o.batch},
                                 {"bytes_per_token", f.bytes_per_token},
                                 {"fp16_bytes_per_token", f.fp16_bytes_per_token},
                                 {"context", f.context},
                                 {"cache_bytes", f.cache_bytes},
                                 {"method_bytes", plan.table_bytes()},
                                 {"weight_bytes", or_null(f.weights)}};
  for (const LayerPlan& layer : plan.layers()) {
    nlohmann::ordered_json& row = json["layers"].emplace_back();
    row = {{"keys", layer.keys},
           {"values", layer.values},
           {"bits_per_element", layer.bits_per_element},
           {"bytes_per_token", layer.bytes_per_token},
           {"attention", layer.attention}};
    if (layer.key_codes.empty()) continue;
    row["key_codes"] = layer.key_codes;
    row["value_codes"] = layer.value_codes;
  }
  json["forecast_kl"] = or_null(f.forecast_kl);
  json["artifacts_model"] = or_null(f.artifacts_model);
  json["artifacts_compared"] = f.compared;
  const bool asked = f.budget != 0;
  json["memory"] = or_null(asked ? std::optional(f.budget) : std::nullopt);
  json["longest_context"] = or_null(asked ? std::optional(plan.longest_context(f.budget)) : std::nullopt);
  json["longest_context_beside_weights"] = or_null(beside_weights(plan, f));
  fmt::print("{}", json_text(json));
}

void print_layers(const std::vector<LayerPlan>& layers) {
  using Row = std::array<std::string, 6>;
  std::vector<Row> rows = {{"layer", "keys", "values", "bits/element", "bytes/token", "attention"}};
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i + 1;  // layers that are alike share a line
    while (end < layers.size() && layers[end].keys == layers[i].keys &&
           layers[end].values == layers[i].values &&
           layers[end].bytes_per_token == layers[i].bytes_per_token &&
           layers[end].attention == layers[i].attention)
      ++end;
    rows.push_back({end - i == 1 ? fmt::format("{}", i) : fmt::format("{} to {}", i, end - 1), layers[i].keys,
                    layers[i].values, fmt::format("{:.4g}", layers[i].bits_per_element),
                    std::to_string(layers[i].bytes_per_token), layers[i].attention});
    i = end;
  }
  std::array<std::size_t, 3> width{};  // of the columns that read from the left
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < width.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  for (const Row& row : rows) {
    fmt::print("{:{}}  {:{}}  {:{}}  {:>12}  {:>11}  {}\n", row[0], width[0], row[1], width[1], row[2],
               width[2], row[3], row[4], row[5]);
  }
}

void print_widths(const std::vector<LayerPlan>& layers) {
  if (layers.front().widths.empty()) return;
  fmt::print("\nbits by KV head\n");
  for (std::size_t i = 0; i < layers.size(); ++i) fmt::print("{:<10}{}\n", i, layers[i].widths);
}

std::string fitting(std::int64_t context) {
  if (context == 0) return "nothing fits, not even one token beside the tables";
  return fmt::format("a context of {} fits", counted(context, "token"));
}

// What fits into the memory that --memory names.
void print_fitting(const PlanOptions& o, const Plan& plan, const Figures& f) {
  if (f.budget == 0) return;
  const std::int64_t alone = plan.longest_context(f.budget);
  fmt::print("in {:<17}{}{}\n", o.memory, fitting(alone),
             alone > 0 ? " when cache and tables have it alone" : "");
  if (!f.weights) return;
  fmt::print("{:20}{}\n", "beside the weights",
             *f.weights > f.budget
                 ? fmt::format("the weights ({}) do not fit", format_size(static_cast<double>(*f.weights)))
                 : fitting(*beside_weights(plan, f)));
}

void print_plan(const PlanOptions& o, const ModelConfig& model, const Plan& plan, const Figures& f) {
  fmt::print("{} with {}, {} of {}\n\n", to_string(model.family), counted(model.layers, "layer"),
             counted(model.kv_heads, "KV head"), model.head_dim);
  print_layers(plan.layers());
  print_widths(plan.layers());
  fmt::print("\nall layers          {} a token", counted(f.bytes_per_token, "byte"));
  if (f.bytes_per_token > 0) {
    fmt::print(" ({:.2f} times less than fp16, {})",
               static_cast<double>(f.fp16_bytes_per_token) / static_cast<double>(f.bytes_per_token),
               f.fp16_bytes_per_token);
  }
  fmt::print("\ncontext of {:<9}{} of cache{}\n", f.context, format_size(static_cast<double>(f.cache_bytes)),
             o.batch > 1 ? fmt::format(" for a batch of {}", o.batch) : "");
  fmt::print("tables and bases    {} beside the caches, once for all of the model\n",
             format_size(static_cast<double>(plan.table_bytes())));
  if (!f.artifacts_model.empty()) {
    fmt::print("artifacts           of model {}, {}\n", printable(f.artifacts_model),
               f.compared ? "which is this one" : "not compared: the folder has no weights");
  }
  if (f.forecast_kl) fmt::print("forecast of KL      {:.4f} nats per token\n", *f.forecast_kl);
  if (f.weights) fmt::print("weights on disk     {}\n", format_size(static_cast<double>(*f.weights)));
  print_fitting(o, plan, f);
  if (f.context > model.max_position)
    fmt::print("note: the model was trained for {}\n", counted(model.max_position, "token"));
}

int plan(const PlanOptions& o) {
  const ModelConfig model = ModelConfig::load(model_folder(o.model));
  if (o.method.find(',') != std::string::npos)
    throw ConfigError("plan", fmt::format("--method {}: a plan is of one method", quote(o.method)));
  const std::vector<BenchmarkMethod> asked = asked_methods({o.method}, method_defaults(o));
  if (!o.artifacts.empty()) require_calibrated(asked);
  KVCacheOptions options = cache_options(model);
  options.batch = o.batch;
  options.keys = asked[0].keys;
  options.values = asked[0].values;
  options.sinks = o.sinks;
  options.recent = o.recent;
  const KVCacheConfig config(options);
  const auto artifacts = read_artifacts(artifacts_for(o.artifacts, asked[0]));
  Figures f;
  if (artifacts) compare_models(o, model, asked[0], *artifacts, f);
  const Plan plan(config, make_layer_methods(config, artifacts));
  f.weights = weight_bytes(o.model);
  if (artifacts) f.forecast_kl = forecast_kl(*artifacts, asked[0].keys, asked[0].values);
  f.bytes_per_token = plan.bytes_per_token();
  f.fp16_bytes_per_token = 4 * static_cast<std::uint64_t>(model.layers) *
                           static_cast<std::uint64_t>(model.kv_heads) *
                           static_cast<std::uint64_t>(model.head_dim);
  f.context = o.context != 0 ? o.context : model.max_position;
  f.cache_bytes = plan.cache_bytes(f.context);
  if (f.cache_bytes == Plan::kUncountable) {
    throw ConfigError(
        "plan", fmt::format("a context of {} for a batch of {} takes more than 2^60 bytes; ask for less",
                            f.context, o.batch));
  }
  f.budget = o.memory.empty() ? 0 : parse_size(o.memory);
  if (o.format == "json")
    print_plan_json(o, plan, f);
  else
    print_plan(o, model, plan, f);
  return kDone;
}

}  // namespace

void add_plan(Commands& commands) {
  const auto o = std::make_shared<PlanOptions>();
  CLI::App* sub =
      commands.add("plan", "Bytes per token and the longest context that fits, before anything runs",
                   [o] { return plan(*o); });
  sub->add_option("--model", o->model,
                  "model folder (config.json; weights are read where artifacts are to be compared with them)")
      ->type_name("DIR")
      ->required();
  sub->add_option(
         "--method", o->method,
         "name[:bits][:option=value] or a preset; keys/values may differ: A/B; see `veloxquant list`")
      ->type_name("METHOD")
      ->capture_default_str();
  add_width_options(*sub, o->bits, o->value_bits);
  sub->add_option("--artifacts", o->artifacts,
                  "what precompute wrote, for calibrated methods: its folder or a file of it")
      ->type_name("DIR|FILE");
  sub->add_option("--context", o->context, "tokens (default: what the model was trained for)")
      ->check(CLI::Range(std::int64_t{1}, kLongestContext));
  sub->add_option("--memory", o->memory, "memory to fill, for example 8G")
      ->type_name("SIZE")
      ->check(CLI::Validator(
          [](const std::string& text) -> std::string {
            try {
              parse_size(text);
              return "";
            } catch (const ConfigError& e) {
              return without_operation(e.what());
            }
          },
          ""));
  sub->add_option("--batch", o->batch, "rows of the batch")->check(at_least(1))->capture_default_str();
  sub->add_option("--sinks", o->sinks, "first tokens kept exact")->check(at_least(0))->capture_default_str();
  sub->add_option("--recent", o->recent, "newest tokens kept exact")
      ->check(at_least(0))
      ->capture_default_str();
  sub->add_option("--format", o->format, "of the output")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

}  // namespace veloxquant::cli
