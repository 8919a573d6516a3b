#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/eval/forecast.hpp>
#include <veloxquant/eval/memory_meter.hpp>

#include "core/counted.hpp"
#include "eval/attention_probe.hpp"
#include "eval/method_run.hpp"
#include "eval/noise.hpp"

namespace veloxquant {
namespace {

constexpr double kBroken = 2;  // times the unquantized model's perplexity, and a method is said to break it

class Benchmark {
 public:
  Benchmark(Decoder& decoder, const BenchmarkRequest& request)
      : decoder_(decoder),
        request_(request),
        reference_(unquantized_method(), cache_config(decoder.config(), unquantized_method(), 0, 0),
                   decoder.pool()) {
    for (const BenchmarkMethod& method : request.asked) runs_.push_back(make_run(method));
    for (const BenchmarkMethod& method : request.baselines) add_baseline(method);
    total_steps_ = (request.windows.size() + request.recall.size() + filled_stages()) * (runs_.size() + 1) +
                   extra_passes(reference_) + runs_.size();
    for (const MethodRun& run : runs_) total_steps_ += extra_passes(run);
  }

  BenchmarkOutcome run() {
    for (std::size_t i = 0; i < request_.windows.size(); ++i) measure_window(i);
    for (std::size_t i = 0; i < request_.recall.size(); ++i) measure_recall(i);
    measure_speed();
    if (filled_stages() > 0) measure_filled();
    measure_encoding();
    return outcome();
  }

 private:
  MethodRun make_run(const BenchmarkMethod& method) const {
    return {method, cache_config(decoder_.config(), method, request_.sinks, request_.recent),
            decoder_.pool()};
  }

  // A baseline may not serve the model's head size; that is no reason to refuse the whole benchmark.
  void add_baseline(const BenchmarkMethod& method) {
    try {
      runs_.push_back(make_run(method));
    } catch (const ConfigError& e) {
      left_out_.push_back({method, e.what()});
    } catch (const UnsupportedError& e) {
      left_out_.push_back({method, e.what()});
    }
  }

  // Passes for the sake of the clock alone. The unquantized run over window 0 is watched and cannot be timed.
  std::size_t extra_passes(const MethodRun& run) const {
    const std::size_t timed =
        request_.windows.size() + request_.recall.size() - (&run == &reference_ ? 1 : 0);
    const auto wanted = static_cast<std::size_t>(request_.runs);
    return wanted > timed ? wanted - timed : 0;
  }

  std::size_t filled_stages() const { return request_.fill_context > 0 ? 1 : 0; }

  void step(const std::string& stage, const MethodRun& run) {
    if (request_.progress) request_.progress(stage, name_of(run), done_steps_, total_steps_);
    ++done_steps_;
  }

  std::string name_of(const MethodRun& run) const {
    return &run == &reference_ ? "unquantized" : run.method().name();
  }

  // One pass of a method over a sequence, its speed noted while runs are wanted.
  void pass(MethodRun& run, const TokenIds& ids, const HiddenSink& sink, const LayerObserver& observer = {}) {
    const auto wanted = static_cast<std::size_t>(request_.runs);
    const Caches caches = run.make_caches();
    const double seconds = prefill(decoder_, ids, caches, request_.chunk, sink, observer);
    run.add_sizes(caches);
    if (!observer && run.timed_prefills() < wanted) run.add_prefill(ids.size(), seconds);
    if (run.timed_decodes() < wanted && request_.fill_context == 0) timed_decode(run, ids, caches);
  }

  // Which tokens follow does not matter to the clock; these are of the same text.
  void timed_decode(MethodRun& run, const TokenIds& ids, const Caches& caches) {
    const auto tokens = std::min(static_cast<std::size_t>(request_.decode_tokens), ids.size());
    run.add_decode(tokens, decode(decoder_, std::span(ids).first(tokens), caches));
  }

  void measure_window(std::size_t index) {
    const std::string stage = fmt::format("window {} of {}", index + 1, request_.windows.size());
    const TokenIds& ids = request_.windows[index];
    Tensor reference = Tensor::empty({std::ssize(ids), decoder_.config().hidden}, DType::f32);
    const HiddenSink keep = [&](std::size_t begin, const Tensor& hidden) {
      std::memcpy(reference.data<float>() + static_cast<std::int64_t>(begin) * decoder_.config().hidden,
                  hidden.contiguous().raw(), hidden.nbytes());
    };
    step(stage, reference_);
    if (index == 0) {
      AttentionProbe probe(decoder_.config(), runs_);
      pass(reference_, ids, keep, std::ref(probe));
      for (std::size_t i = 0; i < runs_.size(); ++i) runs_[i].set_attention_error(probe.error(i));
      first_piece_ = probe.first_piece();
    } else {
      pass(reference_, ids, keep);
    }
    std::vector<RowDivergence> rows = compare_with_itself(reference, ids);
    reference_.add_window(rows);
    for (MethodRun& run : runs_) {
      step(stage, run);
      pass(run, ids,
           [&](std::size_t begin, const Tensor& hidden) { compare(reference, hidden, begin, ids, rows); });
      run.add_window(rows);
    }
  }

  std::vector<RowDivergence> compare_with_itself(const Tensor& reference, const TokenIds& ids) {
    std::vector<RowDivergence> rows(ids.size() - 1);
    compare(reference, reference, 0, ids, rows);
    return rows;
  }

  // Fills rows[begin + i] for the hidden states of the tokens begin + i; the window's last token predicts
  // nothing. The logits of both models are made a few rows at a time: those of a window would fill the
  // memory.
  void compare(const Tensor& reference, const Tensor& hidden, std::size_t begin, const TokenIds& ids,
               std::vector<RowDivergence>& rows) {
    const auto vocab = static_cast<std::size_t>(decoder_.config().vocab);
    const std::size_t end = std::min(begin + static_cast<std::size_t>(hidden.dim(0)), rows.size());
    const bool itself = reference.raw() == hidden.raw();
    for (std::size_t row = begin; row < end; row += logit_rows(decoder_.config().vocab)) {
      const std::size_t count = std::min(logit_rows(decoder_.config().vocab), end - row);
      const auto slice = [&](const Tensor& states, std::size_t first) {
        const auto from = static_cast<std::int64_t>(row - first);
        return states.slice(0, from, from + static_cast<std::int64_t>(count));
      };
      const Tensor exact = decoder_.logits(slice(reference, 0));
      const Tensor measured = itself ? exact : decoder_.logits(slice(hidden, begin));
      compare_rows(exact.data<float>(), measured.data<float>(), count, vocab, &ids[row + 1], *decoder_.pool(),
                   &rows[row]);
    }
  }

  void measure_recall(std::size_t index) {
    const std::string stage = fmt::format("recall sequence {} of {}", index + 1, request_.recall.size());
    for_all(stage, [&](MethodRun& run) {
      const RecallSequence& sequence = request_.recall[index];
      const Tensor hidden = answering_states(run, sequence);
      run.add_recall(static_cast<int>(sequence.answers.size()), right_answers(hidden, sequence));
    });
  }

  // Hidden states of the tokens before each token of each answer, in their order: [tokens, hidden].
  Tensor answering_states(MethodRun& run, const RecallSequence& sequence) {
    std::size_t tokens = 0;
    for (const auto [begin, end] : sequence.answers) tokens += end - begin;
    const std::int64_t width = decoder_.config().hidden;
    Tensor states = Tensor::empty({static_cast<std::int64_t>(tokens), width}, DType::f32);
    std::int64_t next = 0;
    pass(run, sequence.ids, [&](std::size_t first, const Tensor& hidden) {
      for (const auto [begin, end] : sequence.answers) {
        for (std::size_t position = begin - 1; position + 1 < end; ++position) {
          if (position < first || position >= first + static_cast<std::size_t>(hidden.dim(0))) continue;
          const auto row = static_cast<std::int64_t>(position - first);
          std::memcpy(states.data<float>() + next++ * width, hidden.data<float>() + row * hidden.strides()[0],
                      static_cast<std::size_t>(width) * sizeof(float));
        }
      }
    });
    return states;
  }

  int right_answers(const Tensor& hidden, const RecallSequence& sequence) {
    const Tensor logits = decoder_.logits(hidden);
    const auto vocab = static_cast<std::size_t>(logits.dim(1));
    const float* row = logits.data<float>();
    int right = 0;
    for (const auto [begin, end] : sequence.answers) {
      bool all = true;
      for (std::size_t position = begin; position < end; ++position, row += vocab) {
        all = argmax(row, vocab) == sequence.ids[position] && all;
      }
      right += all ? 1 : 0;
    }
    return right;
  }

  void measure_speed() {
    const auto measure = [&](MethodRun& run) {
      for (std::size_t i = extra_passes(run); i > 0; --i) {
        step("timed runs", run);
        pass(run, request_.windows[0], {});
      }
    };
    measure(reference_);
    for (MethodRun& run : runs_) measure(run);
  }

  void measure_filled() {
    const std::int64_t context = request_.fill_context;
    const NoiseTokens noise(decoder_.cache_options(), std::min(request_.chunk, context));
    for_all("synthetic context", [&](MethodRun& run) {
      const std::uint64_t needed = run.token_bytes() * static_cast<std::uint64_t>(context);
      if (const std::uint64_t available = available_memory(); needed > available) {
        warnings_.push_back(
            fmt::format("{}: {} synthetic tokens need {} MB of cache, and {} MB of memory are available; it "
                        "was not timed",
                        name_of(run), context, needed / 1000000, available / 1000000));
        return;
      }
      const Caches caches = run.make_caches();
      append_noise(caches, noise, context);
      run.set_filled(caches);
      for (int i = 0; i < request_.runs; ++i) {
        timed_decode(run, request_.windows[0], caches);
        for (const auto& cache : caches) cache->trim(cache->size() - context);
      }
    });
  }

  void measure_encoding() {
    const auto tokens = static_cast<std::size_t>(first_piece_.front().keys.dim(2));
    const auto measure = [&](MethodRun& run) {
      for (int i = 0; i < request_.runs; ++i) {
        const Caches caches = run.make_caches();
        const Stopwatch watch;
        for (std::size_t layer = 0; layer < caches.size(); ++layer) {
          caches[layer]->append(first_piece_[layer].keys, first_piece_[layer].values);
        }
        run.add_encode(tokens, watch.seconds());
      }
    };
    measure(reference_);
    for (MethodRun& run : runs_) {
      step("encoding", run);
      measure(run);
    }
  }

  void for_all(const std::string& stage, const std::function<void(MethodRun&)>& work) {
    step(stage, reference_);
    work(reference_);
    for (MethodRun& run : runs_) {
      step(stage, run);
      work(run);
    }
  }

  BenchmarkOutcome outcome() const {
    BenchmarkOutcome outcome{{reference_.result()}, left_out_, warnings_};
    MethodResult& reference = outcome.results.front();
    reference.reference = true;
    reference.kl_stderr = 0;
    reference.attention_error.assign(static_cast<std::size_t>(decoder_.config().layers), 0.0);
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      outcome.results.push_back(runs_[i].result());
      outcome.results.back().baseline = i >= request_.asked.size();
    }
    const double unquantized = outcome.results.front().perplexity.value();
    for (MethodResult& result : outcome.results) {
      result.arithmetic = to_string(decoder_.arithmetic());
      const BenchmarkMethod& method = result.method;
      if (method.artifacts) result.forecast_kl = forecast_kl(*method.artifacts, method.keys, method.values);
      if (result.perplexity > kBroken * unquantized) {
        outcome.warnings.push_back(fmt::format("{} breaks this model: perplexity {:.4g}, unquantized {:.4g}",
                                               result.method.name(), *result.perplexity, unquantized));
      }
    }
    return outcome;
  }

  Decoder& decoder_;
  const BenchmarkRequest& request_;
  MethodRun reference_;
  std::vector<MethodRun> runs_;
  std::vector<LeftOut> left_out_;
  std::vector<std::string> warnings_;
  std::vector<AttentionProbe::LayerVectors> first_piece_;
  std::size_t done_steps_ = 0, total_steps_ = 0;
};

void check(const BenchmarkRequest& request) {
  if (request.windows.empty()) throw ConfigError("benchmark", "there is no window to measure on");
  for (const TokenIds& window : request.windows) {
    if (window.size() != request.windows[0].size() || window.size() < 2) {
      throw ConfigError("benchmark", fmt::format("a window has {}; all have the same number, 2 or more",
                                                 counted(window.size(), "token")));
    }
  }
  if (request.chunk < 1)
    throw ConfigError("benchmark", fmt::format("chunk is {}; it is 1 or more", request.chunk));
  if (request.runs < 1)
    throw ConfigError("benchmark", fmt::format("{} runs asked for; it is 1 or more", request.runs));
  if (request.decode_tokens < 1) {
    throw ConfigError("benchmark",
                      fmt::format("decode_tokens is {}; it is 1 or more", request.decode_tokens));
  }
  if (request.fill_context < 0) {
    throw ConfigError("benchmark",
                      fmt::format("fill_context is {}; it is 0 or more tokens", request.fill_context));
  }
}

}  // namespace

BenchmarkMethod unquantized_method() {
  const MethodSpec spec = MethodSpec::parse("fp32");
  return {spec, spec};
}

KVCacheConfig cache_config(const ModelConfig& model, const BenchmarkMethod& method, std::int64_t sinks,
                           std::int64_t recent) {
  KVCacheOptions options = cache_options(model);
  options.keys = method.keys;
  options.values = method.values;
  options.sinks = sinks;
  options.recent = recent;
  return KVCacheConfig(std::move(options));
}

BenchmarkOutcome run_benchmark(Decoder& decoder, const BenchmarkRequest& request) {
  check(request);
  return Benchmark(decoder, request).run();
}

}  // namespace veloxquant
