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
#include "error_text.hpp"
#include "json_text.hpp"
#include "text_layout.hpp"

namespace veloxquant::cli {
namespace {

constexpr std::pair<const char*, const char*> kOptions[] = {
    {"scale=one|matched|unbiased", "factor of a vector (default unbiased)"},
    {"transform=none|hadamard|haar", "rotation in front of the code"},
    {"group=32|64|128", "coordinates that share a scale"},
    {"seed=N", "of random rotations"},
    {"centre=true|false", "take out means, of `precompute --method mean`"},
    {"sensitivity=measured|proxy", "weights of layers and heads, of ratequant's artifacts"},
};

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
      row.codes.push_back(without_operation(e.what()));
      row.bits_per_element.push_back(0);
      row.attention.emplace_back("none");
    }
  }
  return row;
}

constexpr std::size_t kIndent = 27, kLine = 100;

void print_line(const char* title, const std::string& text) {
  fmt::print("{:16}{:11}{}\n", "", title, wrapped(text, kIndent, kLine));
}

// What is said of each width, widths of which the same is said together; no widths where it is said of all.
std::string by_width(const std::vector<int>& widths, const std::vector<std::string>& said) {
  std::vector<std::pair<std::string, std::vector<int>>> groups;
  for (std::size_t i = 0; i < said.size(); ++i) {
    auto same = std::ranges::find(groups, said[i], [](const auto& group) { return group.first; });
    if (same == groups.end()) same = groups.insert(groups.end(), {said[i], {}});
    same->second.push_back(widths[i]);
  }
  if (groups.size() == 1) return groups[0].first;
  std::vector<std::string> parts;
  for (const auto& [text, which] : groups)
    parts.push_back(fmt::format("{}: {}", fmt::join(which, ", "), text));
  return fmt::format("{}", fmt::join(parts, "; "));
}

bool is_made(const Row& row) {
  return std::ranges::any_of(row.bits_per_element, [](double bits) { return bits > 0; });
}

std::string attention_of(const Row& row) {
  if (!is_made(row) && row.info.reads_artifacts) return "by the artifacts: see `veloxquant plan --artifacts`";
  return by_width(row.info.bits, row.attention);
}

// "2 (2.5), 3 (3.5)": widths, and with scales; why there are none at this head size.
std::string bits_of(const Row& row, int head_dim) {
  if (row.info.takes_budget())
    return "a budget, 0.125 to 6, in place of a width: " + row.name + ":1.5 (default: the artifacts')";
  if (!is_made(row) && !row.info.reads_artifacts)
    return fmt::format("{}: none at a head_dim of {}: {}", fmt::join(row.info.bits, ", "), head_dim,
                       by_width(row.info.bits, row.codes));
  std::vector<std::string> widths;
  for (std::size_t i = 0; i < row.info.bits.size(); ++i) {
    const double bits = row.bits_per_element[i];
    widths.push_back(bits > 0 ? fmt::format("{} ({:.4g})", row.info.bits[i], bits)
                              : std::to_string(row.info.bits[i]));
  }
  return fmt::format("{}", fmt::join(widths, ", "));
}

// Without the budget, which is written in place of a width.
std::string options_of(const Row& row) {
  std::vector<std::string> options = row.info.options;
  std::erase(options, kBudgetOption);
  return options.empty() ? "none" : fmt::format("{}", fmt::join(options, ", "));
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
    print_line("bits", bits_of(row, options.head_dim));
    print_line("attention", attention_of(row));
    print_line("options", options_of(row));
    print_line("needs", row.info.needs);
  }
  fmt::print("\noptions\n");
  for (const auto& [option, text] : kOptions) fmt::print("  {:36}{}\n", option, text);
  fmt::print("\npresets, in place of a method\n");
  for (const Preset& preset : presets())
    fmt::print("  {:10}{:15}{}\n", preset.name, preset.method, preset.summary);
  fmt::print("\nCPU level: {} (available: {}; pin one with VELOXQUANT_CPU)\n", cpu_level(),
             fmt::join(available_cpu_levels(), ", "));
  return kDone;
}

}  // namespace

void add_list(Commands& commands) {
  const auto options = std::make_shared<ListOptions>();
  CLI::App* sub = commands.add("list", "Methods with their options, limits and needs",
                               [options] { return list(*options); });
  sub->add_option("--format", options->format, "of the output")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  sub->add_option("--head-dim", options->head_dim,
                  "head size that the bits per element are for: even, 2 to 4096")
      ->check(CLI::Validator(
          [](const std::string& text) -> std::string {
            int head_dim = 0;
            const bool good = CLI::detail::lexical_cast(text, head_dim) && head_dim >= 2 && head_dim <= 4096;
            return good && head_dim % 2 == 0 ? "" : "a head size is even and from 2 to 4096, not " + text;
          },
          ""))
      ->capture_default_str();
}

}  // namespace veloxquant::cli
