// How much memory a method takes, as the operating system counts it (Linux).
//
// Figures mean something in a process that does nothing else and has not been measuring anything before:
// memory that was freed earlier is used again and does not count as growth. `veloxquant benchmark` therefore
// starts a process of its own for each method, without huge pages (single pages are counted exactly).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <veloxquant/eval/result.hpp>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant {

// Bytes of this process's memory that are in RAM now. Throws UnsupportedError where the system does not say.
std::uint64_t resident_memory();
// Bytes that programs can still have without swapping. Throws UnsupportedError where the system does not say.
std::uint64_t available_memory();

// Watches the largest resident memory from its construction on.
class PeakMeter {
 public:
  // Gives freed memory back to the system first. Throws UnsupportedError where the peak cannot be reset.
  PeakMeter();
  // Largest growth since then, in bytes.
  std::uint64_t growth() const;

 private:
  std::uint64_t start_ = 0;
};

// Huge pages off, for this process from now on. Does nothing where there are none.
void disable_huge_pages() noexcept;

// Fills the caches of all layers with `tokens` tokens of seeded normal noise, `chunk` at a time, without a
// model: {nbytes() of all, growth of resident memory}. Memory that was freed again does not count: how much an
// append takes while it works is measured by measure_peak.
std::pair<std::uint64_t, std::uint64_t> measure_filled_caches(
    const KVCacheConfig& config, std::int64_t tokens, std::int64_t chunk, std::shared_ptr<ThreadPool> pool,
    std::shared_ptr<const ArtifactStore> artifacts = {});

// Peak growth of resident memory while `ids` are prefilled in pieces of `chunk` and `decode_tokens` more are
// decoded. The model's weights and the matrix library's own memory are touched before and do not count.
std::uint64_t measure_peak(Decoder& decoder, const KVCacheConfig& config, std::span<const std::uint32_t> ids,
                           std::int64_t chunk, std::int64_t decode_tokens,
                           std::shared_ptr<const ArtifactStore> artifacts = {});

}  // namespace veloxquant
