#include "inspect_model.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/io/sharded_safetensors.hpp>
#include <veloxquant/models/model_config.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "benchmark_facts.hpp"
#include "command.hpp"
#include "core/counted.hpp"
#include "core/quote.hpp"
#include "core/strict_json.hpp"
#include "error_text.hpp"
#include "json_text.hpp"
#include "models/weights.hpp"
#include "size_text.hpp"

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Weights {
  std::string types;
  std::size_t tensors = 0, files = 0;
  std::uint64_t bytes = 0;
};

// What could be found out; what could not has its reason.
struct Model {
  std::optional<ModelConfig> config;
  Json written;  // of a config that is not served: see written_config
  std::optional<Weights> weights;
  std::string fingerprint;  // empty where the weights are not the config's
  std::optional<std::size_t> tokens;
  std::vector<std::string> reasons;
};

Weights weights_of(const ShardedSafetensors& file) {
  Weights weights{weight_types(file), 0, file.shards().size(), 0};
  for (const std::string& name : file.names()) {
    ++weights.tensors;
    weights.bytes += file.info(name).end - file.info(name).begin;
  }
  return weights;
}

// The fields of a config.json that say what model it is, as they are written.
Json written_config(const std::filesystem::path& folder) {
  constexpr std::uint64_t kLargest = 1 << 20;
  const auto all =
      parse_strict_json(read_file(folder / "config.json", kLargest),
                        [](const std::string& what) { throw ModelError("inspect", "config.json " + what); });
  Json said = Json::object();
  if (!all.is_object()) return said;
  for (const char* key :
       {"architectures", "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "rope_theta",
        "rope_scaling", "rope_parameters", "quantization_config"}) {
    if (all.contains(key)) said[key] = all[key];
  }
  return said;
}

Model read_model(const std::filesystem::path& folder) {
  Model model;
  const auto find_out = [&](const std::function<void()>& read) {
    try {
      read();
    } catch (const Error& e) {
      model.reasons.push_back(without_operation(printable(e.what())));
    }
  };
  find_out([&] { model.config = ModelConfig::load(folder); });
  if (!model.config) {
    try {
      model.written = written_config(folder);
    } catch (const Error&) {  // it cannot be read at all, as the reason above says
      model.written = Json::object();
    }
  }
  find_out([&] {
    const ShardedSafetensors file = ShardedSafetensors::open(folder);
    model.weights = weights_of(file);
    if (!model.config) return;
    check_weights(*model.config, file);
    model.fingerprint = model_fingerprint(*model.config, file);
  });
  const std::filesystem::path tokenizer = folder / "tokenizer.json";
  std::error_code error;
  if (std::filesystem::symlink_status(tokenizer, error).type() == std::filesystem::file_type::not_found)
    model.reasons.emplace_back("there is no tokenizer.json");
  else
    find_out([&] { model.tokens = Tokenizer::load(tokenizer).vocab_size(); });
  return model;
}

void print_json(const std::filesystem::path& folder, const Model& model) {
  Json json = {{"schema", "veloxquant.inspect-model/1"},
               {"folder", folder.string()},
               {"served", model.reasons.empty()},
               {"reasons", model.reasons}};
  if (model.config) {
    json.update(shape_facts(*model.config));
    json["rope"] = to_string(model.config->rope);
    json["windows"] = model.config->windows;
  } else {
    json["config"] = model.written;
  }
  json["tokenizer_vocab"] = or_null(model.tokens);
  json["weights"] = nullptr;
  if (const auto& w = model.weights) {
    json["weights"] = {
        {"types", w->types}, {"tensors", w->tensors}, {"files", w->files}, {"bytes", w->bytes}};
  }
  json["fingerprint"] = model.fingerprint.empty() ? Json() : Json(model.fingerprint);
  fmt::print("{}", json_text(json));
}

void print_line(const char* title, const std::string& text) { fmt::print("  {:14}{}\n", title, text); }

// How many tokens a query sees: the same in all layers, or windows in some.
std::string sight(const std::vector<std::int64_t>& windows) {
  const std::int64_t widest = std::ranges::max(windows);
  if (widest == 0) return "all tokens before a token are seen";
  return fmt::format("{} of {} see the newest {} only",
                     windows.size() - static_cast<std::size_t>(std::ranges::count(windows, 0)),
                     counted(windows.size(), "layer"), counted(widest, "token"));
}

void print_table(const std::filesystem::path& folder, const Model& model) {
  fmt::print("{}: {}\n", printable(folder.string()),
             model.reasons.empty() ? "a model that is served" : "a model that is not served");
  for (const std::string& reason : model.reasons) print_line("not served", reason);
  if (model.config) {
    const ModelConfig& c = *model.config;
    print_line("family", to_string(c.family));
    print_line("shape",
               fmt::format("{} of {}, the MLP of {}", counted(c.layers, "layer"), c.hidden, c.intermediate));
    print_line("heads", fmt::format("{} and {} of {}", counted(c.heads, "query head"),
                                    counted(c.kv_heads, "KV head"), c.head_dim));
    print_line("rope", to_string(c.rope));
    print_line("attention", sight(c.windows));
    print_line("context", fmt::format("trained for {}", counted(c.max_position, "token")));
    print_line("vocabulary", counted(c.vocab, "token"));
  } else {
    for (const auto& [key, value] : model.written.items())
      print_line("config.json", fmt::format("{} {}", key, printable_head(value.dump())));
  }
  if (model.tokens) print_line("tokenizer", counted(*model.tokens, "token"));
  if (const auto& w = model.weights) {
    print_line("weights", fmt::format("{}, {} in {}, {}", w->types, counted(w->tensors, "tensor"),
                                      counted(w->files, "file"), format_size(static_cast<double>(w->bytes))));
  }
  if (!model.fingerprint.empty()) print_line("fingerprint", model.fingerprint);
}

}  // namespace

int inspect_model(const std::filesystem::path& folder, const std::string& format) {
  const Model model = read_model(folder);
  if (format == "json")
    print_json(folder, model);
  else
    print_table(folder, model);
  return model.reasons.empty() ? kDone : kRefused;
}

}  // namespace veloxquant::cli
