#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "stream_meter.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
// foreach_target.h comes first: it includes this file once for each target.
#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Eight independent sums keep the memory busy; `count` is a multiple of 8 vectors of any target.
std::uint64_t sum(const std::uint64_t* HWY_RESTRICT words, std::size_t count) {
  const HWY_CAPPED(std::uint64_t, 8) d;
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (std::size_t i = 0; i < count; i += 8 * lanes) {
    s0 = hn::Add(s0, hn::Load(d, words + i));
    s1 = hn::Add(s1, hn::Load(d, words + i + lanes));
    s2 = hn::Add(s2, hn::Load(d, words + i + 2 * lanes));
    s3 = hn::Add(s3, hn::Load(d, words + i + 3 * lanes));
    s4 = hn::Add(s4, hn::Load(d, words + i + 4 * lanes));
    s5 = hn::Add(s5, hn::Load(d, words + i + 5 * lanes));
    s6 = hn::Add(s6, hn::Load(d, words + i + 6 * lanes));
    s7 = hn::Add(s7, hn::Load(d, words + i + 7 * lanes));
  }
  const auto low = hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
  const auto high = hn::Add(hn::Add(s4, s5), hn::Add(s6, s7));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(low, high)));
}

}  // namespace veloxquant::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "stream_meter.hpp"

namespace veloxquant::bench {
namespace {

HWY_EXPORT(sum);

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

StreamMeter::StreamMeter(std::size_t bytes)
    : bytes_(bytes / kHugePage * kHugePage), mapped_(bytes_ + kHugePage) {
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  const auto address = reinterpret_cast<std::uintptr_t>(mapping_);
  auto* data = reinterpret_cast<unsigned char*>((address + kHugePage - 1) / kHugePage * kHugePage);
  madvise(data, bytes_, MADV_HUGEPAGE);
  std::memset(data, 1, bytes_);
  data_ = data;
}

StreamMeter::~StreamMeter() { munmap(mapping_, mapped_); }

double StreamMeter::read(ThreadPool& pool) {
  constexpr std::size_t kStep = 4096;  // bytes; a multiple of what one turn of the loop reads
  // Many parts a thread: one that wakes up late, or beside another on its processor, must not leave its half to it.
  const auto parts = 32 * static_cast<std::size_t>(pool.threads());
  const std::size_t part = bytes_ / parts / kStep * kStep;
  const auto start = std::chrono::steady_clock::now();
  pool.parallel_for(parts, [&](std::size_t i, int) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(data_ + i * part);
    sum_.fetch_add(HWY_DYNAMIC_DISPATCH(sum)(words, part / sizeof(std::uint64_t)));
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return static_cast<double>(part * parts) / seconds.count();
}

}  // namespace veloxquant::bench
#endif
