#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/memory_meter.hpp>

#include "eval/noise.hpp"
#include "eval/passes.hpp"

namespace veloxquant {
namespace {

// The figure of a line "Name:    1234 kB", in bytes.
std::uint64_t read_kilobytes(const char* file, const std::string& name) {
  std::ifstream stream(file);
  for (std::string word; stream >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == name && stream >> kilobytes) return kilobytes * 1024;
  }
  throw UnsupportedError("measure memory", fmt::format("{} has no line '{}'", file, name));
}

// Runs every token that will be used once, in short contexts: weights and embeddings are then in RAM, and the
// matrix library has made its kernels for these shapes.
void warm_up(Decoder& decoder, const std::shared_ptr<const KVCacheConfig>& config,
             const std::shared_ptr<const ArtifactStore>& artifacts, std::span<const std::uint32_t> ids,
             std::int64_t chunk) {
  const std::set<std::uint32_t> distinct(ids.begin(), ids.end());
  std::vector<std::uint32_t> tokens(distinct.begin(), distinct.end());
  // The shapes that follow: whole pieces, the last one, and single tokens.
  while (std::ssize(tokens) < std::min(chunk, std::ssize(ids))) tokens.push_back(tokens.front());
  for (std::size_t begin = 0; begin < tokens.size(); begin += static_cast<std::size_t>(chunk)) {
    const auto piece =
        std::span(tokens).subspan(begin, std::min(static_cast<std::size_t>(chunk), tokens.size() - begin));
    const Caches caches = make_caches(config, artifacts, decoder.pool());
    prefill(decoder, piece, caches, chunk);
  }
  const Caches caches = make_caches(config, artifacts, decoder.pool());
  if (const std::int64_t last = std::ssize(ids) % chunk; last > 0) {
    prefill(decoder, std::span(ids).last(static_cast<std::size_t>(last)), caches, chunk);
  }
  decode(decoder, std::span(tokens).first(1), caches);
}

}  // namespace

std::uint64_t resident_memory() { return read_kilobytes("/proc/self/smaps_rollup", "Rss:"); }

std::uint64_t available_memory() { return read_kilobytes("/proc/meminfo", "MemAvailable:"); }

PeakMeter::PeakMeter() {
  malloc_trim(0);
  std::ofstream reset("/proc/self/clear_refs");
  reset << '5' << std::flush;
  if (!reset) throw UnsupportedError("measure memory", "/proc/self/clear_refs cannot be written");
  start_ = read_kilobytes("/proc/self/status", "VmHWM:");
}

std::uint64_t PeakMeter::growth() const {
  const std::uint64_t peak = read_kilobytes("/proc/self/status", "VmHWM:");
  return peak > start_ ? peak - start_ : 0;
}

void disable_huge_pages() noexcept { prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); }

std::pair<std::uint64_t, std::uint64_t> measure_filled_caches(
    const KVCacheConfig& config, std::int64_t tokens, std::int64_t chunk, std::shared_ptr<ThreadPool> pool,
    std::shared_ptr<const ArtifactStore> artifacts) {
  const auto shared_config = std::make_shared<const KVCacheConfig>(config);
  const NoiseTokens noise(config.options(), std::min(chunk, tokens));
  // The threads' stacks, and the memory in which an append works and which it frees again, are not the
  // caches'.
  append_noise(make_caches(shared_config, artifacts, pool), noise, std::min(chunk, tokens));
  const Caches caches = make_caches(shared_config, artifacts, pool);
  const auto resident_without_freed = [] {
    malloc_trim(0);
    return resident_memory();
  };
  resident_without_freed();  // brings in the code that reads the figure
  const std::uint64_t before = resident_without_freed();
  append_noise(caches, noise, tokens);
  const std::uint64_t after = resident_without_freed();
  std::uint64_t held = 0;
  for (const auto& cache : caches) held += cache->nbytes();
  return {held, after > before ? after - before : 0};
}

std::uint64_t measure_peak(Decoder& decoder, const KVCacheConfig& config, std::span<const std::uint32_t> ids,
                           std::int64_t chunk, std::int64_t decode_tokens,
                           std::shared_ptr<const ArtifactStore> artifacts) {
  const auto shared_config = std::make_shared<const KVCacheConfig>(config);
  warm_up(decoder, shared_config, artifacts, ids, chunk);
  const Caches caches = make_caches(shared_config, artifacts, decoder.pool());
  const PeakMeter meter;
  prefill(decoder, ids, caches, chunk);
  decode(decoder, ids.first(std::min(static_cast<std::size_t>(decode_tokens), ids.size())), caches);
  return meter.growth();
}

}  // namespace veloxquant
