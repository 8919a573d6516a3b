// A writer killed at any moment leaves a whole file.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "io/fixtures.hpp"

namespace veloxquant::test {
namespace {

NamedTensors version(int v) { return {{"v", counting({1 + v % 97, 61}, DType::u16, v)}}; }

[[noreturn]] void rewrite_for_ever(const std::filesystem::path& path, int first) {
  for (int v = first;; ++v) {
    try {
      write_sealed_safetensors(path, version(v), {{"version", std::to_string(v)}});
    } catch (...) {
      _exit(1);
    }
  }
}

TEST(Crash, KilledWritersLeaveTheOldFileOrTheNew) {
  const TempFolder folder;
  const auto path = folder / "f";
  write_sealed_safetensors(path, version(0), {{"version", "0"}});
  std::mt19937 random(20240607);
  constexpr int kLongest = 6000;  // microseconds of a writer's life
  int last = 0, rewritten = 0, longest = kLongest;
  for (int round = 0; round < 150; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) rewrite_for_ever(path, last + 1);
    std::this_thread::sleep_for(std::chrono::microseconds(std::uniform_int_distribution(0, longest)(random)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed by itself";

    const auto file = open_sealed_safetensors(path);
    const int found = std::stoi(file.metadata().at("version"));
    ASSERT_GE(found, last) << "a version that was in place is gone";
    ASSERT_EQ(bytes_of(file.tensor("v")), bytes_of(version(found)[0].second));
    rewritten += found != last;
    // A slow or busy machine needs longer to write anything.
    longest = found != last ? kLongest : std::min(2 * longest, 100 * kLongest);
    last = found;
  }
  EXPECT_GT(rewritten, 10) << "the writers were killed before they wrote";
  for (const std::string& name : folder.files()) {
    EXPECT_TRUE(name == "f" || (name.starts_with(".veloxquant-") && name.ends_with(".tmp"))) << name;
  }
}

}  // namespace
}  // namespace veloxquant::test
