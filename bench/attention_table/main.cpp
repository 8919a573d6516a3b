// attention_table: decode attention on packed caches against the speed at which this machine reads memory.
//
// A layer's cache is filled with noise, coded as in use, and copied to so many layers that going through all
// of them reads `--sweep` MiB: nothing is in the CPU's caches when it is read. A sample is one read of a
// plain block of memory by the same threads and one sweep of the layers, so both see the same machine;
// medians are reported.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>

#include "environment_facts.hpp"
#include "measure.hpp"
#include "pairs.hpp"
#include "report.hpp"

namespace veloxquant::bench {
namespace {

struct Flags {
  std::vector<std::string> parts = {"decode", "prefill", "append"}, only, shapes;
  std::vector<std::int64_t> tokens;
  std::vector<int> threads;
  int samples = 5;
  std::size_t sweep = 448;
  bool quick = false;
  std::string json;
};

// Pairs on layers of one shape.
struct Group {
  LayerShape shape;
  std::vector<Pair> pairs;
  std::vector<std::int64_t> tokens;
};

const std::vector<std::int64_t> kLengths = {4096, 16384, 65536};
constexpr std::int64_t kLongest = 131072, kPrefillTokens = 16384, kPrefillNew = 2048;
const char* const kOtherShapes[] = {"8/8x128", "64/4x128", "64/8x128", "32/8x64"};

template <class T>
std::vector<T> or_default(const std::vector<T>& given, const std::vector<T>& standard) {
  return given.empty() ? standard : given;
}

std::vector<Pair> pairs_of(const std::vector<std::string>& texts) {
  std::vector<Pair> pairs;
  for (const std::string& text : texts) {
    Pair pair = parse_pair(text);
    method_of(pair.keys);
    method_of(pair.values);
    if (std::find(pairs.begin(), pairs.end(), pair) == pairs.end()) pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::vector<Group> groups_of(const Flags& f) {
  const std::vector<Pair> pairs = or_default(pairs_of(f.only), f.quick ? few_pairs() : all_pairs());
  if (f.quick && f.shapes.empty()) return {{LayerShape{}, pairs, or_default(f.tokens, {16384})}};
  if (!f.shapes.empty()) {
    std::vector<Group> groups;
    for (const std::string& shape : f.shapes)
      groups.push_back({LayerShape::parse(shape), pairs, or_default(f.tokens, kLengths)});
    return groups;
  }
  std::vector<Group> groups = {{LayerShape{}, pairs, or_default(f.tokens, kLengths)}};
  if (!f.only.empty() || !f.tokens.empty()) return groups;
  groups.push_back({LayerShape{}, pairs_of({"f16", "scalar4"}), {kLongest}});
  for (const char* shape : kOtherShapes) groups.push_back({LayerShape::parse(shape), pairs, {16384}});
  return groups;
}

std::vector<int> threads_of(const Flags& f) {
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return or_default(f.threads, processors > 1 ? std::vector<int>{1, 2} : std::vector<int>{1});
}

class Table {
 public:
  explicit Table(const Flags& flags)
      : flags_(flags), threads_(threads_of(flags)), measurer_({flags.samples, flags.sweep << 20}) {
    report_.environment = cli::environment_facts(threads_.back());
    report_.environment["sweep_bytes"] = flags.sweep << 20;
    fmt::print("{} ({})\n", cpu_name(), cpu_level());
  }

  void run() {
    const std::vector<Group> groups = groups_of(flags_);
    if (asked_for("decode")) {
      for (const Group& group : groups) decode(group);
    }
    if (asked_for("prefill") && !flags_.quick) prefill(groups.front().shape);
    if (asked_for("append")) append(groups.front().shape);
    if (!flags_.json.empty()) write_file_atomically(flags_.json, to_json(report_));
  }

 private:
  bool asked_for(const std::string& part) const {
    return std::find(flags_.parts.begin(), flags_.parts.end(), part) != flags_.parts.end();
  }

  void decode(const Group& group) {
    print_decode_title(group.shape);
    for (const Pair& pair : group.pairs) {
      CacheMaker maker(pair, group.shape);
      for (const std::int64_t tokens : group.tokens) {
        for (const int threads : threads_) {
          DecodeRow row = measurer_.decode(maker, group.shape, tokens, threads);
          row.pair = pair;
          if (const DecodeRow* f16 = baseline(row)) row.ratio_to_f16 = row.ms / f16->ms;
          report_.decode.push_back(row);
          if (pair == kBaseline) report_.decode.back().ratio_to_f16 = 1.0;
          print(report_.decode.back());
        }
      }
    }
  }

  // The newest row of f16 of the same shape: groups begin with it.
  const DecodeRow* baseline(const DecodeRow& like) const {
    for (auto row = report_.decode.rbegin(); row != report_.decode.rend(); ++row) {
      if (row->pair == kBaseline && row->shape == like.shape && row->tokens == like.tokens &&
          row->threads == like.threads)
        return &*row;
    }
    return nullptr;
  }

  // On a quarter of the heads, which all cost the same: a prefill of all takes tens of seconds.
  void prefill(LayerShape shape) {
    if (shape.kv_heads % 4 == 0) {
      shape.q_heads /= 4;
      shape.kv_heads /= 4;
    }
    const std::vector<std::string> standard = {"f16", "scalar4", "scalar2", "trellis2"};
    for (const Pair& pair : pairs_of(or_default(flags_.only, standard))) {
      CacheMaker maker(pair, shape);
      PrefillRow row = measurer_.prefill(maker, shape, kPrefillTokens, kPrefillNew, threads_.back());
      row.pair = pair;
      const double ms = row.append_ms + row.attend_ms;
      if (!report_.prefill.empty() && report_.prefill.front().pair == kBaseline) {
        row.ratio_to_f16 = ms / (report_.prefill.front().append_ms + report_.prefill.front().attend_ms);
      } else if (pair == kBaseline) {
        row.ratio_to_f16 = 1.0;
      }
      if (report_.prefill.empty()) print_prefill_title(row);
      report_.prefill.push_back(row);
      print(row);
    }
  }

  void append(const LayerShape& shape) {
    print_append_title();
    const std::vector<std::string> standard = {"f16",     "scalar2",  "scalar3",
                                               "scalar4", "trellis2", "affine4g64"};
    for (const Pair& pair : pairs_of(or_default(flags_.only, standard))) {
      CacheMaker maker(pair, shape);
      AppendRow row = measurer_.append(maker, shape);
      row.pair = pair;
      report_.append.push_back(row);
      print(row);
    }
  }

  const Flags& flags_;
  std::vector<int> threads_;
  Measurer measurer_;
  Report report_;
};

void add_flags(CLI::App& app, Flags& f) {
  app.add_option("--parts", f.parts, "decode, prefill, append")
      ->delimiter(',')
      ->check(CLI::IsMember({"decode", "prefill", "append"}));
  app.add_option("--only", f.only, "codes, keys/values: f16,scalar4,q8_0/scalar4; methods are taken too")
      ->delimiter(',');
  app.add_option("--tokens", f.tokens, "lengths of the context")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--threads", f.threads, "numbers of threads (default: 1,2)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  app.add_option("--shape", f.shapes, "query heads/KV heads x head size, as 32/8x128")->delimiter(',');
  app.add_option("--samples", f.samples, "samples of each figure")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--sweep", f.sweep, "MiB of caches read before any is read again")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_flag("--quick", f.quick, "16,384 tokens and few codes, under a minute or two");
  app.add_option("--json", f.json, "file for the figures");
}

}  // namespace
}  // namespace veloxquant::bench

int main(int argc, char** argv) {
  veloxquant::bench::Flags flags;
  CLI::App app("Decode attention on packed caches, against the speed at which memory is read");
  veloxquant::bench::add_flags(app, flags);
  CLI11_PARSE(app, argc, argv);
  try {
    veloxquant::bench::Table(flags).run();
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "attention_table: {}\n", e.what());
    return 1;
  }
}
