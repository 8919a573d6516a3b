// The command as a person uses it: output on stdout, messages on stderr, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <veloxquant/core/version.hpp>

namespace {

using testing::HasSubstr;

constexpr const char* kDemo = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama";

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

Outcome veloxquant(const std::string& arguments, const std::string& environment = "") {
  const auto errors =
      std::filesystem::path(testing::TempDir()) / ("veloxquant_cli_" + std::to_string(getpid()));
  const std::string line = environment + VELOXQUANT_COMMAND + " " + arguments + " 2>" + errors.string();
  Outcome run;
  FILE* pipe = popen(line.c_str(), "r");
  std::array<char, 4096> buffer;
  while (const std::size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) run.out.append(buffer.data(), n);
  const int status = pclose(pipe);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  std::ifstream stream(errors);
  run.err.assign(std::istreambuf_iterator<char>(stream), {});
  std::filesystem::remove(errors);
  return run;
}

TEST(Command, HelpAndVersion) {
  const Outcome help = veloxquant("--help");
  EXPECT_EQ(help.exit_code, 0);
  for (const char* word : {"benchmark", "plan", "list", "inspect", "doctor"})
    EXPECT_THAT(help.out, HasSubstr(word));
  const Outcome version = veloxquant("--version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out, std::string(veloxquant::version()) + "\n");
}

TEST(Command, UsageErrorsAreOne) {
  for (const char* arguments : {"", "nothing", "list --colour", "plan", "list --format xml"}) {
    const Outcome run = veloxquant(arguments);
    EXPECT_EQ(run.exit_code, 1) << arguments;
    EXPECT_EQ(run.out, "") << arguments;
    EXPECT_NE(run.err, "") << arguments;
  }
}

TEST(Command, ListNamesEveryMethod) {
  const Outcome table = veloxquant("list");
  EXPECT_EQ(table.exit_code, 0);
  const Outcome json = veloxquant("list --format json");
  ASSERT_EQ(json.exit_code, 0);
  const auto parsed = nlohmann::json::parse(json.out);
  EXPECT_EQ(parsed["schema"], "veloxquant.list/1");
  for (const auto& method : parsed["methods"]) {
    EXPECT_THAT(table.out, HasSubstr(method["name"].get<std::string>()));
    EXPECT_EQ(method["bits"].size(), method["bits_per_element"].size());
  }
}

TEST(Command, PlanCountsBytes) {
  // 6 layers, 2 KV heads of 64: turboquant_mse at 4 bits takes 32 + 2 bytes for a key and as many for a
  // value.
  const Outcome run =
      veloxquant(std::string("plan --format json --memory 1M --method turboquant_mse:4 --model ") + kDemo);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["bytes_per_token"], 6 * 2 * 2 * (32 + 2));
  EXPECT_EQ(json["fp16_bytes_per_token"], 6 * 2 * 2 * 128);
  const auto longest = json["longest_context"].get<std::int64_t>();
  EXPECT_LE(longest * 816, 1 << 20);
  EXPECT_EQ(longest % 64, 0);
  EXPECT_GT((longest + 64) * 816, 1 << 20);
}

// 4 sinks and 100 recent tokens, all exact (f32) from the beginning; tokens 4 to 999 in 16 pages of each
// head.
TEST(Command, PlanCountsExactTokensBesideTheirCodes) {
  const Outcome run = veloxquant(std::string("plan --format json --context 1000 --sinks 4 --recent 100 ") +
                                 "--method turboquant_mse:4 --model " + kDemo);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(nlohmann::json::parse(run.out)["cache_bytes"], 16 * 64 * 816 + 104 * 6 * 2 * 2 * 64 * 4);
}

TEST(Command, InspectShowsAndRefuses) {
  const Outcome weights = veloxquant(std::string("inspect ") + kDemo + "/model.safetensors");
  EXPECT_EQ(weights.exit_code, 0);
  EXPECT_THAT(weights.out, HasSubstr("model.embed_tokens.weight"));
  const Outcome missing = veloxquant("inspect /nonexistent/file.safetensors");
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent/file.safetensors"));
  const Outcome text = veloxquant(std::string("inspect ") + kDemo + "/config.json");
  EXPECT_EQ(text.exit_code, 2);
}

TEST(Command, RefusalsNameTheValue) {
  const Outcome method = veloxquant(std::string("plan --method turbo --model ") + kDemo);
  EXPECT_EQ(method.exit_code, 2);
  EXPECT_THAT(method.err, HasSubstr("turbo"));
  EXPECT_THAT(method.err, HasSubstr("turboquant_mse"));
  const Outcome bits = veloxquant(std::string("plan --method trellis --bits 7 --model ") + kDemo);
  EXPECT_EQ(bits.exit_code, 2);
  EXPECT_THAT(bits.err, HasSubstr("7"));
}

TEST(Command, DoctorFindsThisMachineGood) {
  const Outcome run = veloxquant("doctor");
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("all good"));
}

TEST(Command, PinnedLevelIsReportedAndUnknownOnesRefused) {
  EXPECT_THAT(veloxquant("list").out, HasSubstr("CPU level"));
  for (const std::string arguments :
       {"list", "doctor", "plan --method trellis:2 --model ", "benchmark --method fp16 --model "}) {
    const std::string model = arguments.ends_with("--model ") ? kDemo : "";
    const Outcome run = veloxquant(arguments + model, "VELOXQUANT_CPU=PDP11 ");
    EXPECT_EQ(run.exit_code, 4) << arguments;
    EXPECT_THAT(run.err, HasSubstr("VELOXQUANT_CPU 'PDP11' is not available here; available are "))
        << arguments;
  }
  const Outcome least = veloxquant("doctor", "VELOXQUANT_CPU=SSE4 ");
#if defined(__x86_64__)
  EXPECT_THAT(least.out, HasSubstr("SSE4 (available"));
#endif
}

}  // namespace
