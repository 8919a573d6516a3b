// What the operating system counts while caches fill is what they report: each measurement runs in a process
// forked before anything else was done, where no freed memory waits to be used again.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <veloxquant/eval/memory_meter.hpp>

namespace veloxquant {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VELOXQUANT_SANITIZED
#endif
#endif

using Bytes = std::array<std::uint64_t, 2>;  // reported, grown

// Long enough that what malloc adds to lists and notes (about 110 KB in 8 layers) is small beside 1-bit
// codes.
constexpr std::int64_t kTokens = 32768;

Bytes fill(const std::string& method, std::int64_t tokens) {
  KVCacheOptions options;
  options.layers = 8;
  options.kv_heads = 2;
  options.head_dim = 128;
  options.keys = options.values = MethodSpec::parse(method);
  const auto [held, grown] =
      measure_filled_caches(KVCacheConfig(options), tokens, 512, std::make_shared<ThreadPool>(1));
  return {held, grown};
}

Bytes fill_in_a_child(const std::string& method, std::int64_t tokens) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    disable_huge_pages();
    const Bytes bytes = fill(method, tokens);
    _exit(write(ends[1], bytes.data(), sizeof bytes) == sizeof bytes ? 0 : 1);
  }
  close(ends[1]);
  Bytes bytes{};
  const bool whole = read(ends[0], bytes.data(), sizeof bytes) == sizeof bytes;
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return whole && status == 0 ? bytes : Bytes{};
}

class ProcessMemory : public testing::TestWithParam<const char*> {};

TEST_P(ProcessMemory, GrowsByWhatTheCachesReport) {
#ifdef VELOXQUANT_SANITIZED
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  const auto [held, grown] = fill_in_a_child(GetParam(), kTokens);
  ASSERT_GT(held, 0u);
  const double ratio = static_cast<double>(grown) / static_cast<double>(held);
  EXPECT_LE(ratio, 1.02) << grown << " bytes for " << held;
  EXPECT_GE(ratio, 0.98) << grown << " bytes for " << held;
  RecordProperty("ratio", std::to_string(ratio));
}

INSTANTIATE_TEST_SUITE_P(Methods, ProcessMemory,
                         testing::Values("fp16", "q8_0", "affine:4", "turboquant_mse:4", "turboquant_mse:2",
                                         "trellis:2", "trellis:1"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = c == ':' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace veloxquant
