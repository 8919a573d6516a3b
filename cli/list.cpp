// `veloxquant list`: the methods with their options, limits and needs, the codes, the CPU level.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/quantizers/code_spec.hpp>

#include "command.hpp"
#include "json_text.hpp"

namespace veloxquant::cli {
namespace {

struct ListOptions {
  std::string format = "table";
  int head_dim = 128;
};

// What one method is at every width it has, for the head size asked for.
struct Row {
  std::string name;
  MethodInfo info;
  std::vector<std::string> codes;        // one for each width, or the reason why there is none
  std::vector<double> bits_per_element;  // 0 where there is none
  std::vector<std::string> attention;    // how it reads them
};

Row describe(const std::string& name, int head_dim) {
  Row row{name, QuantizerRegistry::info(name), {}, {}, {}};
  for (const int bits : row.info.bits) {
    try {
      const auto quantizer = QuantizerFactory::create(name, {.bits = bits, .head_dim = head_dim});
      row.codes.push_back(quantizer->code_spec() != nullptr ? quantizer->code_spec()->name() : "its own");
      row.bits_per_element.push_back(quantizer->bits_per_element());
      const auto method = as_vector_quantizer(quantizer, Role::keys, head_dim);
      row.attention.push_back(attention_path({method, method}, 1));
    } catch (const Error& e) {
      row.codes.push_back(e.what());
      row.bits_per_element.push_back(0);
      row.attention.emplace_back("none");
    }
  }
  return row;
}

// "packed kernels", or by width where they differ.
std::string attention_of(const Row& row) {
  const bool none = std::ranges::all_of(row.bits_per_element, [](double bits) { return bits == 0; });
  if (row.attention.empty() || (none && row.info.reads_artifacts))
    return "by the artifacts: see `veloxquant plan --artifacts`";
  if (std::equal(row.attention.begin() + 1, row.attention.end(), row.attention.begin()))
    return row.attention[0];
  std::vector<std::string> widths;
  for (std::size_t i = 0; i < row.attention.size(); ++i)
    widths.push_back(fmt::format("{}: {}", row.info.bits[i], row.attention[i]));
  return fmt::format("{}", fmt::join(widths, ", "));
}

int list(const ListOptions& options) {
  std::vector<Row> rows;
  for (const std::string& name : QuantizerRegistry::names()) rows.push_back(describe(name, options.head_dim));
  if (options.format == "json") {
    nlohmann::ordered_json json = {{"schema", "veloxquant.list/1"},
                                   {"head_dim", options.head_dim},
                                   {"cpu_level", cpu_level()},
                                   {"cpu_levels", available_cpu_levels()},
                                   {"methods", nlohmann::ordered_json::array()},
                                   {"presets", nlohmann::ordered_json::array()}};
    for (const Preset& preset : presets())
      json["presets"].push_back(
          {{"name", preset.name}, {"method", preset.method}, {"summary", preset.summary}});
    for (const Row& row : rows) {
      json["methods"].push_back({{"name", row.name},
                                 {"summary", row.info.summary},
                                 {"bits", row.info.bits},
                                 {"bits_per_element", row.bits_per_element},
                                 {"codes", row.codes},
                                 {"attention", row.attention},
                                 {"options", row.info.options},
                                 {"needs", row.info.needs}});
    }
    fmt::print("{}", json_text(json));
    return kDone;
  }
  fmt::print(
      "methods (write name[:bits][:option=value]; bits per element with scales, for a head_dim of {})\n\n",
      options.head_dim);
  for (const Row& row : rows) {
    fmt::print("{:16}{}\n", row.name, row.info.summary);
    std::vector<std::string> widths;
    for (std::size_t i = 0; i < row.info.bits.size(); ++i) {
      const bool made = row.bits_per_element[i] > 0;
      widths.push_back(made ? fmt::format("{} ({:.4g})", row.info.bits[i], row.bits_per_element[i])
                       : row.info.reads_artifacts
                           ? std::to_string(row.info.bits[i])
                           : fmt::format("{} (not at this head_dim)", row.info.bits[i]));
    }
    fmt::print("{:16}bits       {}\n", "", fmt::join(widths, ", "));
    fmt::print("{:16}attention  {}\n", "", attention_of(row));
    fmt::print("{:16}options    {}\n", "",
               row.info.options.empty() ? "none" : fmt::format("{}", fmt::join(row.info.options, ", ")));
    fmt::print("{:16}needs      {}\n", "", row.info.needs);
  }
  fmt::print(
      "\noptions: scale=one|matched|unbiased (default), transform=none|hadamard|haar, group=32|64|128, "
      "seed=N, centre=true|false\n");
  fmt::print("presets, in place of a method:");
  for (const Preset& preset : presets())
    fmt::print("{} {} = {} ({})", &preset == presets().data() ? "" : ",", preset.name, preset.method,
               preset.summary);
  fmt::print("\nCPU level: {} (available: {}; pin one with VELOXQUANT_CPU)\n", cpu_level(),
             fmt::join(available_cpu_levels(), ", "));
  return kDone;
}

}  // namespace

void add_list(Commands& commands) {
  const auto options = std::make_shared<ListOptions>();
  CLI::App* sub = commands.add("list", "Methods with their options, limits and needs",
                               [options] { return list(*options); });
  sub->add_option("--format", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  sub->add_option("--head-dim", options->head_dim, "head size that the bits per element are for")
      ->capture_default_str();
}

}  // namespace veloxquant::cli
