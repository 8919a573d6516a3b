// `veloxquant precompute`: calibrates a method on a model and a text of the user's own.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "artifacts.hpp"
#include "benchmark_facts.hpp"
#include "command.hpp"
#include "core/quote.hpp"
#include "inputs.hpp"
#include "precompute_methods.hpp"
#include "precompute_report.hpp"
#include "progress.hpp"
#include "ranks.hpp"
#include "text_layout.hpp"

namespace veloxquant::cli {
namespace {

// Where a run that is cut short leaves what it has found out; deleted when the artifacts are saved.
std::filesystem::path checkpoint_folder(const PrecomputeFlags& f) {
  return std::filesystem::path(f.output) / (f.method + ".unfinished");
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const CalibratedMethod& method : calibrated_methods()) names.push_back(method.name);
  return names;
}

const CalibratedMethod& calibrated_method(const std::string& name) {
  const auto found = std::ranges::find(calibrated_methods(), name, &CalibratedMethod::name);
  if (found != calibrated_methods().end()) return *found;
  const std::vector<std::string> known = method_names();
  const auto near = nearest(name, known);
  throw ConfigError("precompute", fmt::format("{} is no method that is calibrated; {}", quote(name),
                                              near ? fmt::format("did you mean {}?", *near)
                                                   : fmt::format("those are {}", fmt::join(known, ", "))));
}

std::vector<std::string> owners(const std::string& flag) {
  std::vector<std::string> names;
  for (const CalibratedMethod& method : calibrated_methods()) {
    if (std::ranges::count(method.flags, flag) > 0) names.push_back(method.name);
  }
  return names;
}

// A flag of another method would be ignored, so it is refused.
void require_own_flags(const CLI::App& command, const CalibratedMethod& chosen) {
  for (const CalibratedMethod& method : calibrated_methods()) {
    for (const std::string& flag : method.flags) {
      if (command.count(flag) > 0 && !std::ranges::count(chosen.flags, flag)) {
        throw ConfigError("precompute", fmt::format("{} is no flag of --method {}; it belongs to {}", flag,
                                                    chosen.name, fmt::join(owners(flag), ", ")));
      }
    }
  }
}

// Every rank makes the folder, since their machines need not share a disk; rank 0 writes the artifacts.
std::filesystem::path prepare_output(const PrecomputeFlags& f, const Communicator& ranks) {
  std::error_code failed;
  std::filesystem::create_directories(f.output, failed);
  if (failed) throw IoError("precompute", fmt::format("--output {}: {}", f.output, failed.message()));
  std::filesystem::path to = artifact_file(f.output, f.method);
  if (ranks.rank() == 0) require_writable(to);
  return to;
}

// The dry run makes nothing, and says all the same that nothing could be made where a file stands.
void require_folder(const PrecomputeFlags& f) {
  std::error_code none;
  for (std::filesystem::path at = f.output; !at.empty(); at = at.parent_path()) {
    if (!std::filesystem::exists(at, none)) continue;
    if (std::filesystem::is_directory(at, none)) return;
    throw IoError("precompute", fmt::format("--output {}: {} is no folder", f.output, at.string()));
  }
}

CalibrationRequest request_of(const PrecomputeFlags& f, const CalibratedMethod& method, Progress& progress,
                              Communicator& ranks) {
  return {.windows = {},
          .target_bits = f.target_bits,
          .sinks = f.sinks,
          .seed = f.seed,
          .progress = [&](const std::string& stage, const std::string& item, std::size_t done,
                          std::size_t total) { progress.show(stage, item, done, total); },
          .checkpoints = method.resumes ? checkpoint_folder(f) : std::filesystem::path(),
          .ranks = &ranks};
}

void save(const ArtifactStore& store, const std::filesystem::path& to, const PrecomputeFlags& f,
          Progress& progress) {
  store.save(to);
  std::error_code none;
  std::filesystem::remove_all(checkpoint_folder(f), none);
  progress.clear();
}

void calibrate_on_activations(const PrecomputeFlags& f, const CalibratedMethod& method, Progress& progress,
                              Communicator& ranks) {
  const ActivationFile file = ActivationFile::open(existing(f.activations, "--activations"));
  const CalibrationNeeds needs = method.needs_on(file, f);
  if (f.dry_run) {
    if (ranks.rank() != 0) return;
    return print_dry_run({.method = f.method,
                          .model = {},
                          .activations = file.name(),
                          .layers = file.config().layers,
                          .kv_heads = file.config().kv_heads,
                          .head_dim = file.config().head_dim,
                          .arithmetic = {},
                          .windows = file.windows(),
                          .sequence_length = file.tokens(),
                          .windows_asked = {},
                          .artifacts = artifact_file(f.output, f.method),
                          .checkpoints = method.resumes ? checkpoint_folder(f) : std::filesystem::path(),
                          .needs = needs},
                         f.format);
  }
  const std::filesystem::path to = prepare_output(f, ranks);
  ArtifactStore store = method.run_on(file, request_of(f, method, progress, ranks), f);
  if (ranks.rank() != 0) return;
  store.set_fact("activations", std::filesystem::path(f.activations).filename().string());
  save(store, to, f, progress);
  print_calibration({.method = f.method,
                     .artifacts = to,
                     .store = store,
                     .windows = file.windows(),
                     .sequence_length = file.tokens(),
                     .text_end = {}},
                    f.format);
}

void calibrate_on_model(const PrecomputeFlags& f, const CalibratedMethod& method, Progress& progress,
                        Communicator& ranks) {
  const std::string folder = model_folder(f.model, {"tokenizer.json"});
  progress.show("loading the model", printable(folder), 0, 1);
  Decoder decoder = Decoder::load(
      folder, {.arithmetic = f.arithmetic == "auto" ? Arithmetic::automatic : arithmetic_from(f.arithmetic),
               .threads = f.threads});
  const Text text = read_text(f.text);
  const Tokenizer tokenizer = Tokenizer::load(std::filesystem::path(f.model) / "tokenizer.json");
  CalibrationRequest request = request_of(f, method, progress, ranks);
  const TokenIds ids = tokenizer.encode(text.bytes);
  const auto bos = decoder.config().bos;
  require_length(std::ssize(ids), 0, bos ? f.sequence_length - 1 : f.sequence_length, f.sequence_length,
                 "--sequence-length");
  request.windows = cut_windows(ids, bos, f.sequence_length, 0, f.num_samples.value_or(kDefaultSamples));
  if (f.num_samples && std::ssize(request.windows) < *f.num_samples) {
    progress.note(fmt::format("the text has room for {} of the {} windows asked for", request.windows.size(),
                              *f.num_samples));
  }
  require_calibration(request);
  const CalibrationNeeds needs = method.needs(decoder.config(), request, f);
  if (f.dry_run) {
    if (ranks.rank() != 0) return;
    return print_dry_run({.method = f.method,
                          .model = f.model,
                          .activations = {},
                          .layers = decoder.config().layers,
                          .kv_heads = decoder.config().kv_heads,
                          .head_dim = decoder.config().head_dim,
                          .arithmetic = to_string(decoder.arithmetic()),
                          .windows = request.windows.size(),
                          .sequence_length = f.sequence_length,
                          .windows_asked = f.num_samples,
                          .artifacts = artifact_file(f.output, f.method),
                          .checkpoints = method.resumes ? checkpoint_folder(f) : std::filesystem::path(),
                          .needs = needs},
                         f.format);
  }
  const std::filesystem::path to = prepare_output(f, ranks);
  ArtifactStore store = method.run(decoder, request, f);
  if (ranks.rank() != 0) return;
  // The last window's end: windows begin at multiples of their length, and BOS is not of the text.
  const std::int64_t text_end = std::ssize(request.windows) * f.sequence_length - (bos ? 1 : 0);
  store.set_fact("text", text.file.filename().string());
  store.set_fact("text_xxh3", text_hash(text.bytes));
  store.set_fact("text_end", std::to_string(text_end));
  store.set_fact("arithmetic", to_string(decoder.arithmetic()));
  save(store, to, f, progress);
  print_calibration({.method = f.method,
                     .artifacts = to,
                     .store = store,
                     .windows = request.windows.size(),
                     .sequence_length = f.sequence_length,
                     .text_end = text_end,
                     .text_left = std::ssize(ids) - text_end},
                    f.format);
}

int precompute(PrecomputeFlags f, const CLI::App& command) {
  const std::unique_ptr<Communicator> ranks = join_ranks();
  together(*ranks, [&] {
    const CalibratedMethod& method = calibrated_method(f.method);
    require_own_flags(command, method);
    require_folder(f);
    Progress progress(Progress::style_of_stderr(f.quiet || ranks->rank() != 0));
    if (!f.model.empty()) return calibrate_on_model(f, method, progress, *ranks);
    if (f.activations.empty()) throw UsageError("--model or --activations is needed");
    if (command.count("--sensitivity") == 0) f.sensitivity = "proxy";  // nothing runs that could be measured
    for (const char* flag : {"--text", "--num-samples", "--sequence-length", "--arithmetic"}) {
      if (command.count(flag) > 0) {
        throw ConfigError("precompute", fmt::format("{} is of --model; what --activations hold was computed "
                                                    "elsewhere",
                                                    flag));
      }
    }
    calibrate_on_activations(f, method, progress, *ranks);
  });
  return kDone;
}

}  // namespace

void add_precompute(Commands& commands) {
  const auto f = std::make_shared<PrecomputeFlags>();
  const auto self = std::make_shared<CLI::App*>();
  CLI::App* sub = *self = commands.add("precompute", "Calibrate a method on a model of your own",
                                       [f, self] { return precompute(*f, **self); });
  sub->add_option("--method", f->method, "method to calibrate; mean: what centre=true of others takes out")
      ->type_name(fmt::format("{}", fmt::join(method_names(), "|")))
      ->required();
  CLI::Option* model =
      sub->add_option("--model", f->model, "model folder, as Hugging Face has it")->type_name("DIR");
  sub->add_option("--activations", f->activations,
                  "instead of a model: its activations, as tools/export_activations.py writes them")
      ->type_name("DIR|FILE")
      ->excludes(model);
  sub->add_option("--output", f->output, "folder for the artifacts; made when it is not there")
      ->type_name("DIR")
      ->required();
  sub->add_option("--text", f->text,
                  "calibration text, as like your use as can be (default: the project's documentation)")
      ->type_name("FILE");
  sub->add_option("--num-samples", f->num_samples,
                  fmt::format("windows of text (default {}, or as many as it has)", kDefaultSamples))
      ->check(at_least(1));
  sub->add_option("--sequence-length", f->sequence_length, "tokens of a window, BOS counted")
      ->check(CLI::Range(std::int64_t{64}, std::int64_t{1} << 20))
      ->capture_default_str();
  sub->add_option("--target-bits", f->target_bits, "bits per element of caches that ask for no other budget")
      ->check(CLI::Range(0.125, 6.0))
      ->capture_default_str();
  sub->add_option("--frame", f->frame, "tokens of a RoPE frame; 1: before RoPE; none: after RoPE")
      ->type_name("N|none")
      ->capture_default_str();
  sub->add_option("--metric", f->metric, "what errors of keys count for")
      ->check(CLI::IsMember({"output", "query", "identity"}))
      ->capture_default_str();
  sub->add_option("--sensitivity", f->sensitivity,
                  "how layers and heads are weighed; with --activations proxy (then the default) or none")
      ->check(CLI::IsMember({"measured", "proxy", "none"}))
      ->capture_default_str();
  sub->add_option("--code", f->code, "code of the coordinates")
      ->check(CLI::IsMember({"trellis", "scalar"}))
      ->capture_default_str();
  sub->add_option("--gain", f->gain, "4-bit gain per vector")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  sub->add_option("--base", f->base, "method whose widths are chosen, with its options, as affine:group=32")
      ->type_name("METHOD")
      ->capture_default_str();
  sub->add_option("--widths", f->widths, "widths to choose from, ascending, with commas")
      ->delimiter(',')
      ->capture_default_str();
  sub->add_option("--smoothing", f->smoothing, "what channels of keys are divided by")
      ->check(CLI::IsMember({"balanced", "keys", "none"}))
      ->capture_default_str();
  sub->add_option("--sinks", f->sinks, "first tokens of a window left out, which caches keep exact")
      ->check(at_least(0))
      ->capture_default_str();
  sub->add_option("--seed", f->seed, "of everything sampled")->capture_default_str();
  sub->add_option("--threads", f->threads, "threads; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--arithmetic", f->arithmetic, "of the model's matrix products")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  sub->add_flag("--dry-run", f->dry_run, "say what would be done and what it needs, and do nothing");
  sub->add_option("--format", f->format, "of what stdout says")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  sub->add_flag("--quiet", f->quiet, "no progress on stderr");
  for (CLI::Option* option : sub->get_options()) {
    if (const auto methods = owners(option->get_name()); !methods.empty())
      option->group(fmt::format("Options of {}", fmt::join(methods, " and ")));
  }
}

}  // namespace veloxquant::cli
