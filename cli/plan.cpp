// `veloxquant plan`: what a cache of a model would take, and the longest context that fits, before anything
// runs.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/sharded_safetensors.hpp>
#include <veloxquant/models/model_config.hpp>

#include "command.hpp"
#include "size_text.hpp"

namespace veloxquant::cli {
namespace {

struct PlanOptions {
  std::string model, method = "turboquant_mse", memory, format = "table";
  int bits = 0, value_bits = 0, batch = 1;
  std::int64_t context = 0, sinks = 0, recent = 0;
};

// Bytes of one layer's cache, as functions of the context.
struct LayerPlan {
  std::string keys, values;
  double bits_per_element = 0;
  std::uint64_t bytes_per_token = 0;        // codes and scales, all heads, one row of the batch
  std::uint64_t exact_bytes_per_token = 0;  // of a token kept exact (f32)
};

LayerPlan plan_layer(const KVCacheConfig& config, int layer, const LayerMethods& methods) {
  LayerPlan plan;
  plan.keys = config.method(layer, Role::keys).to_string();
  plan.values = config.method(layer, Role::values).to_string();
  const auto heads = static_cast<std::uint64_t>(config.options().kv_heads);
  plan.bytes_per_token = methods.token_bytes(config.options().kv_heads);
  plan.exact_bytes_per_token = heads * 2 * 4 * static_cast<std::uint64_t>(config.options().head_dim);
  plan.bits_per_element = (methods.keys->bits_per_element() + methods.values->bits_per_element()) / 2;
  return plan;
}

// Pages are whole, 64 tokens each, and hold every token but the sinks: those of the recent window are held
// exact beside their codes. Exact tokens have their room from the beginning.
std::uint64_t cache_bytes(const std::vector<LayerPlan>& layers, const PlanOptions& o, std::int64_t context) {
  const auto pages = static_cast<std::uint64_t>((std::max<std::int64_t>(0, context - o.sinks) + 63) / 64);
  const auto exact = static_cast<std::uint64_t>(o.sinks + o.recent);
  std::uint64_t bytes = 0;
  for (const LayerPlan& layer : layers)
    bytes += pages * 64 * layer.bytes_per_token + exact * layer.exact_bytes_per_token;
  return bytes * static_cast<std::uint64_t>(o.batch);
}

std::int64_t longest_context(const std::vector<LayerPlan>& layers, const PlanOptions& o,
                             std::uint64_t budget) {
  std::int64_t low = 0, high = std::int64_t{1} << 40;
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    if (cache_bytes(layers, o, middle) <= budget)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

MethodSpec with_bits(const std::string& text, int bits) {
  MethodSpec spec = MethodSpec::parse(text);
  if (bits != 0) spec.options.bits = bits;
  return spec;
}

int plan(const PlanOptions& o) {
  const ModelConfig model = ModelConfig::load(o.model);
  KVCacheOptions options = cache_options(model);
  options.batch = o.batch;
  options.keys = with_bits(o.method, o.bits);
  options.values = with_bits(o.method, o.value_bits != 0 ? o.value_bits : o.bits);
  options.sinks = o.sinks;
  options.recent = o.recent;
  const KVCacheConfig config(options);
  const auto methods = make_layer_methods(config);
  std::vector<LayerPlan> layers;
  for (int i = 0; i < model.layers; ++i)
    layers.push_back(plan_layer(config, i, methods[static_cast<std::size_t>(i)]));

  std::uint64_t weights = 0;
  bool has_weights = true;
  try {
    const auto shards = ShardedSafetensors::open(o.model);
    for (const std::string& name : shards.names()) weights += shards.info(name).end - shards.info(name).begin;
  } catch (const ModelError&) {
    has_weights = false;  // a plan needs the shapes only
  }
  std::uint64_t per_token = 0;
  for (const LayerPlan& layer : layers) per_token += layer.bytes_per_token;
  const std::uint64_t fp16_per_token = static_cast<std::uint64_t>(model.layers) *
                                       static_cast<std::uint64_t>(model.kv_heads * model.head_dim) * 4;
  const std::int64_t context = o.context != 0 ? o.context : model.max_position;
  const std::uint64_t budget = o.memory.empty() ? 0 : parse_size(o.memory);

  if (o.format == "json") {
    nlohmann::ordered_json json = {
        {"schema", "veloxquant.plan/1"},
        {"model", o.model},
        {"layers", nlohmann::ordered_json::array()},
        {"batch", o.batch},
        {"bytes_per_token", per_token},
        {"fp16_bytes_per_token", fp16_per_token},
        {"context", context},
        {"cache_bytes", cache_bytes(layers, o, context)},
        {"weight_bytes", has_weights ? nlohmann::ordered_json(weights) : nlohmann::ordered_json(nullptr)}};
    for (const LayerPlan& layer : layers) {
      json["layers"].push_back({{"keys", layer.keys},
                                {"values", layer.values},
                                {"bits_per_element", layer.bits_per_element},
                                {"bytes_per_token", layer.bytes_per_token}});
    }
    json["memory"] = budget == 0 ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(budget);
    json["longest_context"] = budget == 0 ? nlohmann::ordered_json(nullptr)
                                          : nlohmann::ordered_json(longest_context(layers, o, budget));
    fmt::print("{}\n", json.dump(2));
    return kDone;
  }
  fmt::print("{} with {} layers, {} KV heads of {}\n\n", to_string(model.family), model.layers,
             model.kv_heads, model.head_dim);
  fmt::print("layer     keys                      values                    bits/element  bytes/token\n");
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i + 1;  // layers that are alike share a line
    while (end < layers.size() && layers[end].keys == layers[i].keys &&
           layers[end].values == layers[i].values)
      ++end;
    const std::string range = end - i == 1 ? fmt::format("{}", i) : fmt::format("{} to {}", i, end - 1);
    fmt::print("{:10}{:26}{:26}{:>12.4g}{:>13}\n", range, layers[i].keys, layers[i].values,
               layers[i].bits_per_element, layers[i].bytes_per_token);
    i = end;
  }
  fmt::print("\nall layers          {} bytes a token ({:.2f} times less than fp16, {})\n", per_token,
             static_cast<double>(fp16_per_token) / static_cast<double>(per_token), fp16_per_token);
  fmt::print("context of {:<9}{} of cache{}\n", context,
             format_size(static_cast<double>(cache_bytes(layers, o, context))),
             o.batch > 1 ? fmt::format(" for a batch of {}", o.batch) : "");
  if (has_weights) fmt::print("weights on disk     {}\n", format_size(static_cast<double>(weights)));
  if (budget != 0) {
    fmt::print("in {:<17}a context of {} tokens fits when the cache has it alone", o.memory,
               longest_context(layers, o, budget));
    if (has_weights && weights < budget)
      fmt::print(", {} beside the weights", longest_context(layers, o, budget - weights));
    fmt::print("\n");
  }
  if (context > model.max_position)
    fmt::print("note: the model was trained for {} tokens\n", model.max_position);
  return kDone;
}

}  // namespace

void add_plan(Commands& commands) {
  const auto o = std::make_shared<PlanOptions>();
  CLI::App* sub =
      commands.add("plan", "Bytes per token and the longest context that fits, before anything runs",
                   [o] { return plan(*o); });
  sub->add_option("--model", o->model, "model folder (config.json; weights are not read)")->required();
  sub->add_option("--method", o->method, "name[:bits][:option=value], see `veloxquant list`")
      ->capture_default_str();
  sub->add_option("--bits", o->bits, "width of keys and values (default: the method's)");
  sub->add_option("--value-bits", o->value_bits, "width of values (default: as keys)");
  sub->add_option("--context", o->context, "tokens (default: what the model was trained for)")
      ->check(CLI::PositiveNumber);
  sub->add_option("--memory", o->memory, "memory to fill, for example 8G");
  sub->add_option("--batch", o->batch, "rows of the batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sub->add_option("--sinks", o->sinks, "first tokens kept exact")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--recent", o->recent, "newest tokens kept exact")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--format", o->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

}  // namespace veloxquant::cli
