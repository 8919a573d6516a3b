// `mpirun -n 3 veloxquant precompute`: the statistics of one process, one voice, and an end for all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "eval/calibration_fixtures.hpp"

namespace veloxquant {
namespace {

using ::testing::HasSubstr;

class MpiCommand : public ::testing::Test {
 protected:
  void SetUp() override {
#ifndef VELOXQUANT_MPIRUN
    GTEST_SKIP() << "the command was built without MPI (VELOXQUANT_MPI, libopenmpi-dev)";
#endif
  }

  struct Outcome {
    int code;
    std::string out, err;
  };
  Outcome run(const std::string& launcher, const std::string& arguments) const {
    const auto file = [&](const char* name) { return (folder_.path() / name).string(); };
    const std::string command = launcher + " '" VELOXQUANT_COMMAND "' precompute --threads 1 " + arguments +
                                " >'" + file("out") + "' 2>'" + file("err") + "'";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, testing::text_of(file("out")),
            testing::text_of(file("err"))};
  }
  // Three ranks; as root and on fewer cores too. A job that hangs is ended.
  Outcome ranks(const std::string& arguments) const {
#ifdef VELOXQUANT_MPIRUN
    return run("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 300 '" VELOXQUANT_MPIRUN
               "' --oversubscribe -n 3",
               arguments);
#else
    return run("", arguments);
#endif
  }
  std::string on_demo(const std::string& method, const std::string& output) const {
    return "--method " + method + " --model '" + testing::kDemoModel.string() +
           "' --num-samples 4 --sequence-length 128 --output '" + (folder_.path() / output).string() + "'";
  }
  ArtifactStore artifacts(const std::string& output, const std::string& method) const {
    return ArtifactStore::load(folder_.path() / output / (method + ".safetensors"));
  }

  testing::TemporaryFolder folder_;
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST_F(MpiCommand, ReachesTheStatisticsOfOneProcess) {
  for (const std::string method : {"spectral", "ratequant"}) {
    const Outcome one = run("", on_demo(method, "one")), three = ranks(on_demo(method, "three"));
    ASSERT_EQ(one.code, 0) << one.err;
    ASSERT_EQ(three.code, 0) << three.err;
    const ArtifactStore wanted = artifacts("one", method), found = artifacts("three", method);
    if (method == "spectral") {
      testing::expect_near(found, wanted, {"mean", "lambda"}, 1e-5f);
      testing::expect_near(found, wanted, {"weight"}, 2e-2f);  // bases of nearly equal variances are free
    } else {
      testing::expect_near(found, wanted, {"distortion", "proxy", "weight"}, 1e-5f);
    }
    // Rank 0 speaks, and nothing is left but the artifacts.
    EXPECT_EQ(count(three.out, ".safetensors: "), 1u) << three.out;
    EXPECT_EQ(count(three.err, "statistics"), 1u) << three.err;
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "three" / (method + ".unfinished")));
  }
}

TEST_F(MpiCommand, AFailureOfAllIsToldOnce) {
  const std::string demo = on_demo("spectral", "none");
  for (const auto& [flags, code, told] :
       {std::tuple<std::string, int, const char*>{"--frame x", 2, "--frame x"},
        {"--base trellis", 2, "--base is no flag"},
        {"--no-such-flag", 1, "no-such-flag"},
        {"--text /no/such/file", 2, "/no/such/file"}}) {
    const Outcome outcome = ranks(demo + " " + flags);
    EXPECT_EQ(outcome.code, code) << flags;
    EXPECT_EQ(count(outcome.err, told), 1u) << outcome.err;
  }
}

// Rank 0 alone writes, and what it cannot write ends the others, who wait for it.
TEST_F(MpiCommand, AFailureOfOneEndsAll) {
  std::filesystem::create_directories(folder_.path() / "taken/spectral.safetensors/here");
  const Outcome outcome = ranks(on_demo("spectral", "taken"));
  EXPECT_EQ(outcome.code, 4);
  EXPECT_EQ(count(outcome.err, "veloxquant precompute: "), 1u) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("spectral.safetensors"));
}

// A rank other than 0: windows of activations that it alone reads.
TEST_F(MpiCommand, AFailureOfAnotherRankIsItsOwnToTell) {
  Decoder decoder = Decoder::load(testing::kDemoModel, {.arithmetic = Arithmetic::fp32});
  const auto file = folder_.path() / "activations.safetensors";
  testing::write_activations(decoder, testing::request_for(decoder, 64, 3), file, true);
  const std::string flags = "--method ratequant --activations '" + file.string() + "' --output '" +
                            (folder_.path() / "activations").string() + "'";
  const Outcome good = ranks(flags);
  ASSERT_EQ(good.code, 0) << good.err;
  NamedTensors tensors;
  const SafetensorsFile whole = SafetensorsFile::open(file);
  for (const auto& [name, info] : whole.tensors()) {
    tensors.emplace_back(name, whole.tensor(name).copy());
    if (name == "windows.1.layers.2.keys") tensors.back().second.data<float>()[5] = NAN;
  }
  write_safetensors(file, tensors, whole.metadata());
  const Outcome bad = ranks(flags);
  EXPECT_EQ(bad.code, 2);
  EXPECT_EQ(count(bad.err, "veloxquant precompute: "), 1u) << bad.err;
  EXPECT_THAT(bad.err, HasSubstr("windows.1.layers.2.keys"));
}

}  // namespace
}  // namespace veloxquant
