// `veloxquant benchmark`: what methods cost and what they lose on a model of the user's own.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/io/files.hpp>

#include "artifacts.hpp"
#include "benchmark_facts.hpp"
#include "benchmark_meter.hpp"
#include "benchmark_methods.hpp"
#include "calibration/model_groups.hpp"
#include "command.hpp"
#include "core/counted.hpp"
#include "core/quote.hpp"
#include "environment_facts.hpp"
#include "error_text.hpp"
#include "inputs.hpp"
#include "progress.hpp"
#include "report.hpp"

namespace veloxquant::cli {
namespace {

struct BenchmarkFlags {
  std::string model, text, artifacts, output, report, arithmetic = "auto", format = "table", scale;
  std::vector<std::string> methods;
  double bits = 0, value_bits = 0;
  int num_runs = 3, recall = 8, threads = 0;
  std::int64_t seq_len = kDefaultWindow, skip = 0, windows = 4, sinks = 0, recent = 0, chunk = 512,
               fill_context = 0;
  std::uint64_t seed = 0;
  bool no_baselines = false, quiet = false;
};

MethodDefaults method_defaults(const BenchmarkFlags& f) {
  MethodDefaults defaults;
  if (f.bits != 0) defaults.bits = f.bits;
  if (f.value_bits != 0) defaults.value_bits = f.value_bits;
  if (!f.scale.empty()) defaults.scale = scale_mode_from(f.scale);
  if (f.seed != 0) defaults.seed = f.seed;
  return defaults;
}

// Of the terminal, or 120 where there is none. Below 40 nothing would fit.
std::size_t width_of_stdout() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? std::max<std::size_t>(40, size.ws_col) : 120;
}

Arithmetic arithmetic_of(const BenchmarkFlags& f) {
  return f.arithmetic == "auto" ? Arithmetic::automatic : arithmetic_from(f.arithmetic);
}

// What artifacts say under this name; 0 when they do not.
std::int64_t number_of(const ArtifactStore& artifacts, const std::string& fact) {
  const auto found = artifacts.facts().find(fact);
  std::int64_t number = 0;
  if (found == artifacts.facts().end() || !CLI::detail::lexical_cast(found->second, number)) return 0;
  return number;
}

class BenchmarkCommand {
 public:
  explicit BenchmarkCommand(const BenchmarkFlags& flags)
      : flags_(flags), progress_(Progress::style_of_stderr(flags.quiet)) {}

  int run() {
    const MethodDefaults defaults = method_defaults(flags_);
    request_.asked = asked_methods(flags_.methods, defaults);
    if (!flags_.no_baselines) request_.baselines = baseline_methods(request_.asked, defaults);
    if (!flags_.artifacts.empty()) require_calibrated(request_.asked);
    if (!flags_.output.empty() && flags_.output == flags_.report)
      throw ConfigError("benchmark",
                        fmt::format("--output and --report are both {}; one would be lost", flags_.output));
    // A run of minutes should not end in a report that cannot be written.
    for (const std::string& file : {flags_.output, flags_.report}) {
      if (!file.empty()) require_writable(file);
    }
    require_methods(ModelConfig::load(model_folder(flags_.model, {"tokenizer.json"})));

    progress_.show("loading the model", printable(flags_.model), 0, 1);
    Decoder decoder =
        Decoder::load(flags_.model, {.arithmetic = arithmetic_of(flags_), .threads = flags_.threads});
    arithmetic_ = to_string(decoder.arithmetic());
    if (const auto warning = decoder.warning(std::max(flags_.seq_len, flags_.fill_context))) warn(*warning);
    for (BenchmarkMethod& method : request_.asked) {
      if (method.artifacts != nullptr)
        require_model(*method.artifacts, artifacts_for(flags_.artifacts, method), decoder.fingerprint());
    }
    prepare(decoder);
    BenchmarkOutcome outcome = run_benchmark(decoder, request_);
    for (const auto& [method, reason] : outcome.left_out)
      progress_.note(fmt::format("{} is left out: {}", short_name(method), without_operation(reason)));
    for (const std::string& warning : outcome.warnings) warn(warning);
    report_.environment = environment_facts(decoder.pool()->threads());
    report_.model = model_facts(flags_.model, decoder);
    report_.results = std::move(outcome.results);
    report_.left_out = std::move(outcome.left_out);
    measure_memory_of_all();
    progress_.clear();
    write();
    return kDone;
  }

 private:
  // Makes every method that was asked for, for this model, and drops it: what is wrong with one is said before the
  // weights are read. Artifacts stay with their methods; every file is read once.
  void require_methods(const ModelConfig& model) {
    for (BenchmarkMethod& method : request_.asked) {
      const std::string file = artifacts_for(flags_.artifacts, method);
      if (!file.empty()) {
        std::shared_ptr<const ArtifactStore>& store = artifacts_[file];
        if (store == nullptr) store = read_artifacts(file);
        method.artifacts = store;
      }
      make_layer_methods(cache_config(model, method, flags_.sinks, flags_.recent), method.artifacts);
    }
  }

  // Of the report, unless baselines are left out. The memory of each is measured after all passes, and counts
  // as a step like them.
  std::size_t rows() const { return 1 + request_.asked.size() + request_.baselines.size(); }

  void warn(const std::string& message) {
    progress_.note(message);
    report_.warnings.push_back(message);
  }

  void prepare(const Decoder& decoder) {
    const Text text = read_text(flags_.text);
    const Tokenizer tokenizer = Tokenizer::load(std::filesystem::path(flags_.model) / "tokenizer.json");
    const TokenIds ids = tokenizer.encode(text.bytes);
    const std::string hash = text_hash(text.bytes);
    const auto bos = decoder.config().bos;
    require_length(std::ssize(ids), flags_.skip, bos ? flags_.seq_len - 1 : flags_.seq_len, flags_.seq_len,
                   "--seq-len");
    request_.windows = cut_windows(ids, bos, flags_.seq_len, flags_.skip, flags_.windows);
    if (std::ssize(request_.windows) < flags_.windows) {
      warn(fmt::format("the text has room for {} of the {} windows asked for", request_.windows.size(),
                       flags_.windows));
    }
    for (const auto& [file, store] : artifacts_) {
      warn_of_calibration_text(hash, *store);
      warn_of_sinks(file, *store);
    }
    request_.recall =
        make_recall_sequences(tokenizer, std::span(ids).subspan(static_cast<std::size_t>(flags_.skip)), bos,
                              {.seq_len = flags_.seq_len, .sequences = flags_.recall, .seed = flags_.seed});
    request_.sinks = flags_.sinks;
    request_.recent = flags_.recent;
    request_.chunk = flags_.chunk;
    request_.runs = flags_.num_runs;
    request_.fill_context = flags_.fill_context;
    request_.progress = [this](const std::string& stage, const std::string& item, std::size_t done,
                               std::size_t total) {
      passes_ = total;
      progress_.show(stage, item, done, total + rows());
    };
    const RecallOptions recall;
    report_.settings = {{"text", text.file.filename().string()},
                        {"text_xxh3", hash},
                        {"text_tokens", ids.size()},
                        {"bos", bos ? nlohmann::ordered_json(*bos) : nlohmann::ordered_json()},
                        {"seq_len", flags_.seq_len},
                        {"skip", flags_.skip},
                        {"windows", request_.windows.size()},
                        {"recall_sequences", request_.recall.size()},
                        {"recall_facts", recall.facts},
                        {"recall_questions", recall.questions},
                        {"sinks", flags_.sinks},
                        {"recent", flags_.recent},
                        {"chunk", flags_.chunk},
                        {"num_runs", flags_.num_runs},
                        {"decode_tokens", request_.decode_tokens},
                        {"fill_context", flags_.fill_context},
                        {"seed", flags_.seed},
                        {"arithmetic", arithmetic_}};
    for (const auto& [file, store] : artifacts_) {
      const auto method = store->facts().find("method");
      const std::string prefix =
          "artifacts." + (method == store->facts().end() ? kMeanMethod : method->second);
      report_.settings[prefix] = file;
      for (const auto& [name, value] : store->facts())
        report_.settings[fmt::format("{}.{}", prefix, name)] = value;
    }
  }

  // Figures on the text that a method was calibrated on flatter it.
  void warn_of_calibration_text(const std::string& hash, const ArtifactStore& artifacts) {
    const auto text = artifacts.facts().find("text_xxh3");
    if (text == artifacts.facts().end() || text->second != hash) return;
    const std::int64_t tokens = number_of(artifacts, "text_end");
    if (flags_.skip >= tokens) return;
    warn(
        fmt::format("the artifacts were calibrated on the first {} of this text, and what is measured begins "
                    "after {}; measure other text, or use --skip {}",
                    counted(tokens, "token"), flags_.skip, tokens));
  }

  // Calibrated without its first tokens, a method serves them badly.
  void warn_of_sinks(const std::string& file, const ArtifactStore& artifacts) {
    const std::int64_t sinks = number_of(artifacts, "sinks");
    if (flags_.sinks >= sinks) return;
    warn(
        fmt::format("{} was calibrated for caches that keep the first {} exact, these keep {}; use "
                    "--sinks {}",
                    file, counted(sinks, "token"), flags_.sinks, sinks));
  }

  void measure_memory_of_all() {
    for (std::size_t i = 0; i < report_.results.size(); ++i) {
      MethodResult& result = report_.results[i];
      progress_.show("memory", row_name(result), passes_ + i, passes_ + rows());
      MeterRequest request{flags_.model,   result.method, request_.windows[0],
                           flags_.sinks,   flags_.recent, flags_.chunk,
                           flags_.threads, arithmetic_,   artifacts_for(flags_.artifacts, result.method)};
      if (result.reference) request.sinks = request.recent = 0;
      try {
        result.memory = measure_memory(request);
      } catch (const UnsupportedError& e) {
        warn(fmt::format("memory of {} was not measured: {}", row_name(result), without_operation(e.what())));
      }
    }
  }

  // What was measured is on the screen before anything can go wrong with the file.
  void write() const {
    fmt::print("{}", flags_.format == "json"  ? report_json(report_)
                     : flags_.format == "csv" ? report_csv(report_)
                     : flags_.format == "md"  ? report_markdown(report_)
                                              : report_table(report_, width_of_stdout()));
    std::fflush(stdout);
    if (!flags_.output.empty()) write_file_atomically(flags_.output, report_json(report_));
    if (!flags_.report.empty()) write_file_atomically(flags_.report, report_html(report_));
  }

  const BenchmarkFlags& flags_;
  Progress progress_;
  std::string arithmetic_;
  std::map<std::string, std::shared_ptr<const ArtifactStore>> artifacts_;  // by file
  BenchmarkRequest request_;
  std::size_t passes_ = 0;  // of the benchmark, all methods
  BenchmarkReport report_;
};

void add_measured(CLI::App& sub, BenchmarkFlags& f) {
  sub.add_option("--model", f.model, "model folder, as Hugging Face has it")->type_name("DIR")->required();
  sub.add_option(
         "--method", f.methods,
         "name[:bits][:option=value] or a preset; keys/values may differ: A/B; several with commas; see "
         "`veloxquant list`")
      ->type_name("METHOD")
      ->required()
      ->delimiter(',');
  add_width_options(sub, f.bits, f.value_bits);
  sub.add_option("--scale", f.scale, "scale per vector (default: the method's, unbiased)")
      ->check(CLI::IsMember({"one", "matched", "unbiased"}));
  sub.add_option("--sinks", f.sinks, "first tokens kept exact")->check(at_least(0))->capture_default_str();
  sub.add_option("--recent", f.recent, "newest tokens kept exact")->check(at_least(0))->capture_default_str();
  sub.add_flag("--no-baselines", f.no_baselines,
               "leave out fp16, q8_0, rotated q4_0, affine:4 and turboquant_mse:4");
}

void add_measuring(CLI::App& sub, BenchmarkFlags& f) {
  sub.add_option("--text", f.text, "text to measure on (default: the project's own documentation)")
      ->type_name("FILE");
  sub.add_option(
         "--artifacts", f.artifacts,
         "what precompute wrote: its folder, in which every calibrated method finds its own file, or a file")
      ->type_name("DIR|FILE");
  sub.add_option("--skip", f.skip, "tokens left out at the start of the text")
      ->check(at_least(0))
      ->capture_default_str();
  sub.add_option("--windows", f.windows, "windows of text")->check(at_least(1))->capture_default_str();
  sub.add_option("--seq-len", f.seq_len, "tokens of a window, BOS counted")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 24))
      ->capture_default_str();
  sub.add_option("--recall", f.recall, "recall sequences of 8 facts and 5 questions; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  sub.add_option("--num-runs", f.num_runs, "timed runs")->check(CLI::Range(1, 1000))->capture_default_str();
  sub.add_option(
         "--fill-context", f.fill_context,
         "measure decode speed and size after so many synthetic tokens, not after the text; 0: the text")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->capture_default_str();
  sub.add_option("--seed", f.seed, "of random transforms and recall sequences")->capture_default_str();
  sub.add_option("--threads", f.threads, "threads; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub.add_option("--arithmetic", f.arithmetic, "of the model's matrix products")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  sub.add_option("--chunk", f.chunk, "tokens of a prefill piece; changes the speed only")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
}

void add_reporting(CLI::App& sub, BenchmarkFlags& f) {
  sub.add_option("--output", f.output, "JSON file for the report (docs/benchmark-schema.md)")
      ->type_name("FILE");
  sub.add_option("--report", f.report, "HTML file for the report: a table and plots, for a browser")
      ->type_name("FILE");
  sub.add_option("--format", f.format, "of the report on stdout")
      ->check(CLI::IsMember({"table", "json", "csv", "md"}))
      ->capture_default_str();
  sub.add_flag("--quiet", f.quiet, "no progress and no warnings on stderr");
}

}  // namespace

void add_benchmark(Commands& commands) {
  const auto flags = std::make_shared<BenchmarkFlags>();
  CLI::App* sub =
      commands.add("benchmark", "Memory, quality and speed of methods on a model, beside baselines",
                   [flags] { return BenchmarkCommand(*flags).run(); });
  add_measured(*sub, *flags);
  add_measuring(*sub, *flags);
  add_reporting(*sub, *flags);
  add_benchmark_meter(commands);
}

}  // namespace veloxquant::cli
