// `veloxquant precompute`: calibrates a method on a model and a text of the user's own.
#include <fmt/format.h>

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
#include "inputs.hpp"
#include "progress.hpp"

namespace veloxquant::cli {
namespace {

struct PrecomputeFlags {
  std::string method, model, output, text, frame = "64", metric = "output", sensitivity = "measured",
                                           code = "trellis", gain = "on", smoothing = "balanced",
                                           arithmetic = "auto";
  std::int64_t num_samples = 6, sequence_length = 4096, sinks = 4;
  double target_bits = 2;
  std::uint64_t seed = 0;
  int threads = 0;
  bool quiet = false;
};

std::int64_t frame_of(const std::string& text) {
  if (text == "none") return 0;
  std::int64_t frame = 0;
  if (!CLI::detail::lexical_cast(text, frame) || frame < 1) {
    throw ConfigError("precompute", fmt::format("--frame {}; it is a number of tokens, or none", text));
  }
  return frame;
}

// A method that is calibrated: what of the flags below is its own, and how it is done.
struct CalibratedMethod {
  std::string name;
  std::vector<std::string> flags;
  ArtifactStore (*run)(Decoder& decoder, const CalibrationRequest& request, const PrecomputeFlags& flags);
};

const std::vector<CalibratedMethod>& calibrated_methods() {
  static const std::vector<CalibratedMethod> kMethods = {
      {"spectral",
       {"--target-bits", "--frame", "--metric", "--sensitivity", "--code", "--gain"},
       [](Decoder& decoder, const CalibrationRequest& request, const PrecomputeFlags& f) {
         return precompute_spectral(decoder, request,
                                    {.frame = frame_of(f.frame),
                                     .metric = key_metric_from(f.metric),
                                     .sensitivity = sensitivity_from(f.sensitivity),
                                     .code = run_code_from(f.code),
                                     .gain = f.gain == "on"});
       }},
      {"vecinfer",
       {"--smoothing"},
       [](Decoder& decoder, const CalibrationRequest& request, const PrecomputeFlags& f) {
         return precompute_vecinfer(decoder, request, smoothing_from(f.smoothing));
       }},
  };
  return kMethods;
}

const CalibratedMethod& calibrated_method(const std::string& name) {
  return *std::ranges::find(calibrated_methods(), name, &CalibratedMethod::name);
}

// A flag of another method would be ignored, so it is refused.
void require_own_flags(const CLI::App& command, const CalibratedMethod& chosen) {
  for (const CalibratedMethod& method : calibrated_methods()) {
    for (const std::string& flag : method.flags) {
      if (command.count(flag) > 0 && !std::ranges::count(chosen.flags, flag)) {
        throw ConfigError("precompute", fmt::format("{} is no flag of --method {}; it is one of {}", flag,
                                                    chosen.name, method.name));
      }
    }
  }
}

int precompute(const PrecomputeFlags& f, const CLI::App& command) {
  const CalibratedMethod& method = calibrated_method(f.method);
  require_own_flags(command, method);
  Progress progress(Progress::style_of_stderr(f.quiet));
  Decoder decoder = Decoder::load(
      existing(f.model, "--model"),
      {.arithmetic = f.arithmetic == "auto" ? Arithmetic::automatic : arithmetic_from(f.arithmetic),
       .threads = f.threads});
  const Text text = read_text(f.text);
  const Tokenizer tokenizer = Tokenizer::load(std::filesystem::path(f.model) / "tokenizer.json");
  const CalibrationRequest request{
      .windows = cut_windows(tokenizer.encode(text.bytes), decoder.config().bos, f.sequence_length, 0,
                             f.num_samples),
      .target_bits = f.target_bits,
      .sinks = f.sinks,
      .seed = f.seed,
      .progress = [&](const std::string& stage, const std::string& item, std::size_t done,
                      std::size_t total) { progress.show(stage, item, done, total); }};
  if (std::ssize(request.windows) < f.num_samples) {
    progress.note(fmt::format("the text has room for {} of the {} samples asked for", request.windows.size(),
                              f.num_samples));
  }
  std::error_code failed;
  std::filesystem::create_directories(f.output, failed);
  if (failed) throw IoError("precompute", fmt::format("--output {}: {}", f.output, failed.message()));
  const std::filesystem::path to = artifact_file(f.output, f.method);
  require_writable(to);

  ArtifactStore store = method.run(decoder, request, f);
  // The last window's end: windows begin at multiples of their length, and BOS is not of the text.
  const std::int64_t text_end =
      std::ssize(request.windows) * f.sequence_length - (decoder.config().bos ? 1 : 0);
  store.set_fact("text", text.file.filename().string());
  store.set_fact("text_xxh3", text_hash(text.bytes));
  store.set_fact("text_end", std::to_string(text_end));
  store.set_fact("arithmetic", to_string(decoder.arithmetic()));
  store.save(to);
  progress.clear();
  fmt::print("{}: {} bytes, {} windows of {} tokens\n", to.string(), store.nbytes(), request.windows.size(),
             f.sequence_length);
  fmt::print("to measure on the rest of the same text: benchmark --skip {}\n", text_end);
  const auto weights = store.facts().find("sensitivity");
  if (weights == store.facts().end() || weights->second != to_string(Sensitivity::measured)) return kDone;
  fmt::print("forecast of KL (nats per token):\n");
  for (const auto& [bits, kl] : spectral_forecast(store)) fmt::print("  {:4.2f} bits  {:.4f}\n", bits, kl);
  return kDone;
}

}  // namespace

void add_precompute(Commands& commands) {
  const auto f = std::make_shared<PrecomputeFlags>();
  const auto self = std::make_shared<CLI::App*>();
  CLI::App* sub = *self = commands.add("precompute", "Calibrate a method on a model of your own",
                                       [f, self] { return precompute(*f, **self); });
  std::vector<std::string> names;
  for (const CalibratedMethod& method : calibrated_methods()) names.push_back(method.name);
  sub->add_option("--method", f->method, "method to calibrate")->required()->check(CLI::IsMember(names));
  sub->add_option("--model", f->model, "model folder, as Hugging Face has it")->required();
  sub->add_option("--output", f->output, "folder for the artifacts; made when it is not there")->required();
  sub->add_option("--text", f->text,
                  "calibration text, as like your use as can be (default: the project's documentation)");
  sub->add_option("--num-samples", f->num_samples, "windows of text")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sub->add_option("--sequence-length", f->sequence_length, "tokens of a window, BOS counted")
      ->check(CLI::Range(std::int64_t{64}, std::int64_t{1} << 20))
      ->capture_default_str();
  sub->add_option("--target-bits", f->target_bits, "bits per element of caches that ask for no other budget")
      ->check(CLI::Range(0.125, 6.0))
      ->capture_default_str();
  sub->add_option("--frame", f->frame, "tokens of a RoPE frame; 1: before RoPE; none: after RoPE")
      ->capture_default_str();
  sub->add_option("--metric", f->metric, "what errors of keys count for")
      ->check(CLI::IsMember({"output", "query", "identity"}))
      ->capture_default_str();
  sub->add_option("--sensitivity", f->sensitivity, "how layers and heads are weighed")
      ->check(CLI::IsMember({"measured", "proxy", "none"}))
      ->capture_default_str();
  sub->add_option("--code", f->code, "code of the coordinates")
      ->check(CLI::IsMember({"trellis", "scalar"}))
      ->capture_default_str();
  sub->add_option("--gain", f->gain, "4-bit gain per vector")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  sub->add_option("--smoothing", f->smoothing, "what channels of keys are divided by")
      ->check(CLI::IsMember({"balanced", "keys", "none"}))
      ->capture_default_str();
  sub->add_option("--sinks", f->sinks, "first tokens of a window left out, which caches keep exact")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--seed", f->seed, "of everything sampled")->capture_default_str();
  sub->add_option("--threads", f->threads, "threads; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--arithmetic", f->arithmetic, "of the model's matrix products: auto, fp32 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  sub->add_flag("--quiet", f->quiet, "no progress on stderr");
}

}  // namespace veloxquant::cli
