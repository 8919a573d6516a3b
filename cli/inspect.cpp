// `veloxquant inspect PATH`: what is in a safetensors file (a saved cache, calibration artifacts, weights) or in a
// model folder.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

#include "artifacts.hpp"
#include "calibration/spectral_artifact.hpp"
#include "command.hpp"
#include "core/counted.hpp"
#include "core/quote.hpp"
#include "forecast_text.hpp"
#include "inputs.hpp"
#include "inspect_model.hpp"
#include "json_text.hpp"

namespace veloxquant::cli {
namespace {

struct InspectOptions {
  std::string path;
  std::string format = "table";
};

constexpr const char* kWhole = "whole";

// kWhole, "damaged: ..." or "none": files from elsewhere carry no checksum.
std::string seal_of(const SafetensorsFile& file) {
  if (!file.metadata().contains(kChecksumKey)) return "none (not written by veloxquant)";
  try {
    verify_seal(file);
    return kWhole;
  } catch (const ArtifactError& e) {
    return std::string("damaged: ") + e.what();
  }
}

// Null for anything but whole artifacts of a calibrated method. What is refused when the method is made has no
// forecast: it is the same error here.
std::shared_ptr<const ArtifactStore> artifacts_of(const SafetensorsFile& file, const std::string& seal) {
  if (seal != kWhole || !file.metadata().contains("method_schema")) return nullptr;
  auto store = read_artifacts(file.name());
  if (const auto method = store->facts().find("method");
      method != store->facts().end() && method->second == kSpectralMethod)
    check_spectral(*store);
  return store;
}

int inspect(const InspectOptions& options) {
  std::error_code error;
  if (std::filesystem::is_directory(options.path, error))
    return inspect_model(model_folder(options.path, {}, "path"), options.format);
  const SafetensorsFile file = SafetensorsFile::open(existing(options.path, "path"));
  const std::string seal = seal_of(file);
  std::uint64_t bytes = 0;
  for (const auto& [name, info] : file.tensors()) bytes += info.end - info.begin;
  const auto artifacts = artifacts_of(file, seal);
  if (options.format == "json") {
    nlohmann::ordered_json json = {{"schema", "veloxquant.inspect/1"},
                                   {"file", options.path},
                                   {"checksum", seal},
                                   {"tensor_bytes", bytes},
                                   {"metadata", file.metadata()},
                                   {"tensors", nlohmann::ordered_json::array()}};
    for (const auto& [name, info] : file.tensors()) {
      json["tensors"].push_back({{"name", name},
                                 {"dtype", to_string(info.dtype)},
                                 {"shape", info.shape},
                                 {"bytes", info.end - info.begin}});
    }
    if (artifacts) {
      json["budget"] = budget_json(*artifacts);
      json["forecast"] = forecast_json(*artifacts);
    }
    fmt::print("{}", json_text(json));
  } else {
    fmt::print("{}: {}, {}, checksum {}\n", printable(options.path), counted(file.tensors().size(), "tensor"),
               counted(bytes, "byte"), printable(seal));
    for (const auto& [key, value] : file.metadata())
      fmt::print("  {} = {}\n", printable_head(key), printable_head(value));
    for (const auto& [name, info] : file.tensors()) {
      fmt::print("  {:48} {:9}{:24}{:>14} bytes\n", printable(name), to_string(info.dtype),
                 to_string(info.shape), info.end - info.begin);
    }
    if (artifacts) {
      print_budget(*artifacts);
      print_forecast(*artifacts);
    }
  }
  return seal.starts_with("damaged") ? kRefused : kDone;
}

}  // namespace

void add_inspect(Commands& commands) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* sub =
      commands.add("inspect", "What is in a model folder, a saved cache, an artifact or a weight file",
                   [options] { return inspect(*options); });
  sub->add_option("path", options->path, "a model folder or a safetensors file")->required();
  sub->add_option("--format", options->format, "of the output")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

}  // namespace veloxquant::cli
