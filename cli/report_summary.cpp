// What the figures of a report amount to, in sentences.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report.hpp"

namespace veloxquant::cli {
namespace {

// Beyond what the standard errors of both leave open.
bool loses_less(const MethodResult& a, const MethodResult& b) {
  return *a.kl + std::hypot(a.kl_stderr.value_or(0), b.kl_stderr.value_or(0)) < *b.kl;
}

bool is_compressed(const MethodResult& r) {
  return !r.reference && r.kl.has_value() && r.bits_per_element.has_value();
}

// fp16 when it was measured, else the unquantized model; null without either.
const MethodResult* yardstick_of_speed(const BenchmarkReport& report) {
  const MethodResult* found = nullptr;
  for (const MethodResult& r : report.results) {
    if (!r.decode_tokens_per_s) continue;
    const bool fp16 = r.method.keys.method == "fp16" && r.method.values.method == "fp16";
    if (fp16) return &r;
    if (r.reference) found = &r;
  }
  return found;
}

std::string size_and_loss(const MethodResult& r) {
  std::string text = fmt::format("{:.2f} bits per element", *r.bits_per_element);
  if (*r.bits_per_element < 15.5)
    text += fmt::format(", {:.1f} times less than fp16", 16 / *r.bits_per_element);
  if (r.method_bytes >= kTablesWorthTelling)
    text += fmt::format(", beside {:.2f} MB of tables", static_cast<double>(r.method_bytes) / 1e6);
  text += fmt::format("; KL {:.3g}", *r.kl);
  if (r.kl_stderr) text += fmt::format(" +- {:.1g}", *r.kl_stderr);
  if (r.same_top1)
    text += fmt::format(", the most probable token kept in {:.1f} % of places", 100 * *r.same_top1);
  return text;
}

std::string speed(const MethodResult& r, const MethodResult* yardstick) {
  if (yardstick == nullptr || yardstick == &r || !r.decode_tokens_per_s) return "";
  const Spread &own = *r.decode_tokens_per_s, &other = *yardstick->decode_tokens_per_s;
  if (!(own.median > 0 && other.median > 0)) return "";
  const std::string than = yardstick->reference ? "the unquantized cache" : "fp16";
  if (own.max >= other.min && other.max >= own.min)
    return fmt::format("; decodes as fast as {} within the range of the runs", than);
  return own.median > other.median
             ? fmt::format("; decodes {:.2f} times as fast as {}", own.median / other.median, than)
             : fmt::format("; {} decodes {:.2f} times as fast", than, other.median / own.median);
}

// In its codes, or with the tables beside them as far as the caches' bytes are known.
bool is_larger(const MethodResult& a, const MethodResult& b) {
  const bool counted = a.resident_bytes && b.resident_bytes;
  return *a.bits_per_element > *b.bits_per_element ||
         (counted && *a.resident_bytes + a.method_bytes > *b.resident_bytes + b.method_bytes);
}

// The row that is better in both, the best of them; null when there is none.
const MethodResult* better_than(const MethodResult& r, const BenchmarkReport& report) {
  const MethodResult* best = nullptr;
  for (const MethodResult& other : report.results) {
    if (&other == &r || !is_compressed(other) || is_larger(other, r)) continue;
    if (loses_less(other, r) && (best == nullptr || *other.kl < *best->kl)) best = &other;
  }
  return best;
}

}  // namespace

std::vector<Verdict> report_verdicts(const BenchmarkReport& report) {
  std::vector<Verdict> verdicts;
  const MethodResult* yardstick = yardstick_of_speed(report);
  for (const MethodResult& r : report.results) {
    if (r.baseline || !is_compressed(r)) continue;
    std::string text = size_and_loss(r) + speed(r, yardstick) + ".";
    if (const MethodResult* better = better_than(r, report); better != nullptr)
      text += fmt::format(" {} is no larger and loses less.", short_name(*better));
    verdicts.push_back({display_name(r), std::move(text)});
  }
  return verdicts;
}

}  // namespace veloxquant::cli
