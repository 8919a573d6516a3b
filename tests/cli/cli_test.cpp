// The command as a person uses it: output on stdout, messages on stderr, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/version.hpp>

#include "calibration/spectral_artifact.hpp"

namespace {

using testing::HasSubstr;
using testing::Not;

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

// The caches of the model as they are after so many tokens.
std::size_t held(const std::string& keys, const std::string& values, std::int64_t context, int batch,
                 std::int64_t sinks, std::int64_t recent) {
  veloxquant::KVCacheOptions o;
  o.layers = 6;
  o.kv_heads = 2;
  o.head_dim = 64;
  o.batch = batch;
  o.keys = veloxquant::MethodSpec::parse(keys);
  o.values = veloxquant::MethodSpec::parse(values);
  o.sinks = sinks;
  o.recent = recent;
  std::size_t bytes = 0;
  for (const auto& cache : veloxquant::make_caches(std::make_shared<const veloxquant::KVCacheConfig>(o))) {
    cache->append(veloxquant::Tensor::zeros({batch, 2, context, 64}, veloxquant::DType::f32));
    bytes += cache->nbytes();
  }
  return bytes;
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
  for (const char* arguments : {"", "nothing", "list --colour", "plan", "list --format xml",
                                "precompute --method mean --output none", "plan --model . --memory 8X"}) {
    const Outcome run = veloxquant(arguments);
    EXPECT_EQ(run.exit_code, 1) << arguments;
    EXPECT_EQ(run.out, "") << arguments;
    EXPECT_NE(run.err, "") << arguments;
  }
}

TEST(Command, UnknownWordsAreNamedWithTheNearestKnownOne) {
  const auto message = [](const std::string& arguments) { return veloxquant(arguments).err; };
  EXPECT_THAT(message("bench"), HasSubstr("unknown subcommand 'bench'; did you mean benchmark?"));
  EXPECT_THAT(message("benchmark --methods fp16"),
              HasSubstr("unknown option '--methods'; did you mean --method?"));
  EXPECT_THAT(message("list --colour=red"), HasSubstr("unknown option '--colour'\n"));
  EXPECT_THAT(message("list \x1b[31m"), testing::Not(HasSubstr("\x1b")));
  const std::string plan = std::string("plan --model ") + kDemo + " --method ";
  EXPECT_THAT(message(plan + "treliss:2"),
              HasSubstr("veloxquant plan: config error: unknown method 'treliss'; did you mean trellis?"));
  EXPECT_THAT(message(plan + "fp16/balance"), HasSubstr("did you mean balanced?"));
  EXPECT_THAT(message(plan + "turbo_mse:2"), HasSubstr("did you mean turboquant_mse?"));
  EXPECT_THAT(message(plan + "TRELLIS"), HasSubstr("did you mean trellis?"));
  EXPECT_THAT(message(plan + "xyz"), HasSubstr("known are affine, "));
  EXPECT_THAT(message("precompute --model . --output none --method spectra"),
              HasSubstr("'spectra' is no method that is calibrated; did you mean spectral?"));
  EXPECT_THAT(message("plan --batch 0 --model ."), HasSubstr("--batch: 0 is below 1"));
}

TEST(Command, HelpFitsAScreenAndSaysWhatToWrite) {
  for (const char* subcommand : {"", "precompute", "benchmark", "plan", "list", "inspect", "doctor"}) {
    const Outcome help = veloxquant(std::string(subcommand) + " --help");
    EXPECT_EQ(help.exit_code, 0);
    std::istringstream stream(help.out);
    for (std::string line; std::getline(stream, line);) EXPECT_LE(line.size(), 100u) << line;
    for (const char* word : {"TEXT", "INT", "FLOAT", "REQUIRED", "Excludes"})
      EXPECT_THAT(help.out, testing::Not(HasSubstr(word))) << subcommand;
  }
  const std::string precompute = veloxquant("precompute --help").out;
  EXPECT_THAT(precompute, HasSubstr("\nOptions of spectral and ratequant:\n  --target-bits N "));
  EXPECT_THAT(precompute,
              HasSubstr("--num-samples N                 windows of text (default 6, or as many as it has)"));
  EXPECT_THAT(precompute, HasSubstr("--code trellis|scalar"));
  EXPECT_THAT(precompute, HasSubstr("--output DIR "));
}

TEST(Command, ListSaysBudgetsPresetsAndReasons) {
  const std::string list = veloxquant("list").out;
  EXPECT_THAT(list, HasSubstr("a budget, 0.125 to 6, in place of a width: spectral:1.5"));
  EXPECT_THAT(list, HasSubstr("\n  balanced  spectral:2.25 "));
  EXPECT_THAT(veloxquant("list --head-dim 96").out, HasSubstr("none at a head_dim of 96: "));
  for (const char* size : {"7", "0", "4098", "x"})
    EXPECT_EQ(veloxquant(std::string("list --head-dim ") + size).exit_code, 1) << size;
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
  EXPECT_GT(json["method_bytes"], 0);
  const auto longest = json["longest_context"].get<std::int64_t>();
  const std::size_t left = (1u << 20) - json["method_bytes"].get<std::size_t>();
  EXPECT_LE(held("turboquant_mse:4", "turboquant_mse:4", longest, 1, 0, 0), left);
  EXPECT_GT(held("turboquant_mse:4", "turboquant_mse:4", longest + 1, 1, 0, 0), left);
  EXPECT_FALSE(json["layers"][0].contains("key_codes"));
}

TEST(Command, PlanSaysWhatCachesWillHold) {
  const std::string plan = std::string("plan --format json --model ") + kDemo;
  const auto bytes = [&](const std::string& arguments) {
    const Outcome run = veloxquant(plan + arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out)["cache_bytes"].get<std::size_t>();
  };
  EXPECT_EQ(bytes(" --context 1000 --sinks 4 --recent 100 --method turboquant_mse:4"),
            held("turboquant_mse:4", "turboquant_mse:4", 1000, 1, 4, 100));
  EXPECT_EQ(bytes(" --context 65 --batch 3 --method trellis:2/affine:4"),
            held("trellis:2", "affine:4", 65, 3, 0, 0));
  EXPECT_EQ(bytes(" --context 3 --sinks 8 --method fp16"), held("fp16", "fp16", 3, 1, 8, 0));
  EXPECT_EQ(bytes(" --context 64 --method affine --bits 2 --value-bits 8"),
            held("affine:2", "affine:8", 64, 1, 0, 0));
}

TEST(Command, PlanRefusesContradictionsAndWhatItCannotCount) {
  const std::string plan = std::string("plan --model ") + kDemo;
  EXPECT_EQ(veloxquant(plan + " --method trellis:2 --bits 4").exit_code, 2);
  EXPECT_EQ(veloxquant(plan + " --method trellis:2/affine:4 --value-bits 3").exit_code, 2);
  EXPECT_EQ(veloxquant(plan + " --method fp16 --artifacts /tmp").exit_code, 2);
  EXPECT_EQ(veloxquant(plan + " --method spectral").exit_code, 2);
  EXPECT_EQ(veloxquant(plan + " --context 9223372036854775807").exit_code, 1);
  EXPECT_EQ(veloxquant(plan + " --context 1099511627776 --batch 65536").exit_code, 2);
  EXPECT_EQ(veloxquant(plan + " --memory 999999999999999T").exit_code, 1);
  EXPECT_EQ(veloxquant(plan + " --memory 0.0001").exit_code, 1);
  EXPECT_EQ(veloxquant(plan + " --memory 1000T").exit_code, 0);
}

TEST(Command, SaysHowAttentionReadsAMethod) {
  EXPECT_THAT(veloxquant("list").out, HasSubstr("attention  packed kernels"));
  const std::string plan = std::string("plan --method trellis:2 --model ") + kDemo;
  EXPECT_THAT(veloxquant(plan, "VELOXQUANT_ARITHMETIC=precise ").out,
              HasSubstr("decoded tiles: keys (trellis 2 bit) have no kernel in precise arithmetic"));
  EXPECT_THAT(veloxquant("doctor").out, HasSubstr("packed kernels"));
}

TEST(Command, OutputThatDoesNotArriveIsAFailure) {
  for (const char* arguments : {"list", "list --format json", "doctor"}) {
    EXPECT_EQ(veloxquant(std::string(arguments) + " >/dev/full").exit_code, 4) << arguments;
  }
}

// A terminal must not obey what is written in a file.
TEST(Command, InspectPrintsNoControlCharacters) {
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / "caf\xe9 \x1b[31m.safetensors";
  const std::string header =
      "{\"__metadata__\":{\"k\\u001b[31m\":\"\\u001b]0;owned\\u0007\\u009b2J\\nfake = line\"}}";
  const std::uint64_t size = header.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), 8) << header;
  out.close();
  for (const char* format : {"table", "json"}) {
    const Outcome run = veloxquant("inspect --format " + std::string(format) + " '" + file.string() + "'");
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out.find('\x1b'), std::string::npos);
    EXPECT_EQ(run.out.find("\xc2\x9b"), std::string::npos);
    EXPECT_EQ(run.out.find("\nfake"), std::string::npos);
    EXPECT_EQ(run.out.find('\xe9'), std::string::npos);
  }
  std::filesystem::resize_file(file, 4);
  const Outcome damaged = veloxquant("inspect '" + file.string() + "'");
  EXPECT_EQ(damaged.exit_code, 2);
  EXPECT_EQ(damaged.err.find('\x1b'), std::string::npos);
  std::filesystem::remove(file);
}

TEST(Command, InspectShowsAndRefuses) {
  const Outcome weights = veloxquant(std::string("inspect ") + kDemo + "/model.safetensors");
  EXPECT_EQ(weights.exit_code, 0);
  EXPECT_THAT(weights.out, HasSubstr("model.embed_tokens.weight"));
  const Outcome missing = veloxquant("inspect /nonexistent/file.safetensors");
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent/file.safetensors"));
  const Outcome folder = veloxquant(std::string("inspect ") + kDemo + "/..");
  EXPECT_EQ(folder.exit_code, 2);
  EXPECT_THAT(folder.err, HasSubstr("has no config.json; models inside are '"));
  const Outcome text = veloxquant(std::string("inspect ") + kDemo + "/config.json");
  EXPECT_EQ(text.exit_code, 2);
}

TEST(Command, InspectShowsAModel) {
  const Outcome table = veloxquant(std::string("inspect ") + kDemo);
  EXPECT_EQ(table.exit_code, 0) << table.err;
  for (const char* line :
       {"probe-6m-llama: a model that is served\n", "LlamaForCausalLM\n", "6 layers of 256",
        "4 query heads and 2 KV heads of 64\n", "theta 100000, 64 coordinates half_split\n",
        "trained for 4096 tokens\n", "bf16, 56 tensors in 1 file, "})
    EXPECT_THAT(table.out, HasSubstr(line));
  const Outcome run = veloxquant(std::string("inspect --format json ") + kDemo);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["schema"], "veloxquant.inspect-model/1");
  EXPECT_EQ(json["served"], true);
  EXPECT_EQ(json["heads"], 4);
  EXPECT_EQ(json["kv_heads"], 2);
  EXPECT_EQ(json["head_dim"], 64);
  EXPECT_EQ(json["tokenizer_vocab"], json["vocab"]);
  EXPECT_THAT(table.out, HasSubstr(json["fingerprint"].get<std::string>() + "\n"));
}

TEST(Command, InspectSaysWhyAModelIsNotServed) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("veloxquant_unserved_" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  std::ifstream demo(std::string(kDemo) + "/config.json");
  nlohmann::json config = nlohmann::json::parse(demo);
  const auto inspect = [&](const char* format) {
    std::ofstream(folder / "config.json") << config;
    return veloxquant(std::string("inspect --format ") + format + " " + folder.string());
  };
  // Its shape is served, and there is nothing to run.
  const auto bare = nlohmann::json::parse(inspect("json").out);
  EXPECT_EQ(bare["served"], false);
  EXPECT_EQ(bare["reasons"].size(), 2u) << bare;
  EXPECT_EQ(bare["layers"], 6);
  EXPECT_TRUE(bare["fingerprint"].is_null());
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4}};
  config["model_type"] = "\x1b[31m";
  for (const char* file : {"tokenizer.json", "model.safetensors"})
    std::filesystem::create_symlink(std::filesystem::path(kDemo) / file, folder / file);
  const Outcome yarn = inspect("json");
  EXPECT_EQ(yarn.exit_code, 2);
  const auto json = nlohmann::json::parse(yarn.out);
  ASSERT_EQ(json["reasons"].size(), 1u) << json;
  EXPECT_THAT(json["reasons"][0].get<std::string>(), HasSubstr("rope_scaling.type is \"yarn\""));
  EXPECT_EQ(json["config"]["num_hidden_layers"], 6);
  EXPECT_EQ(json["weights"]["tensors"], 56);
  const Outcome table = inspect("table");
  EXPECT_EQ(table.exit_code, 2);
  EXPECT_THAT(table.out, HasSubstr("a model that is not served\n"));
  EXPECT_THAT(table.out, HasSubstr("num_attention_heads 4\n"));
  EXPECT_EQ(table.out.find('\x1b'), std::string::npos);
  std::filesystem::remove_all(folder);
}

// What a stranger's config.json may hold: lists nested by the hundred thousand, and values of any length.
TEST(Command, InspectReadsNoConfigThatIsRefused) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("veloxquant_nested_" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const auto inspect = [&](const char* format, const std::string& config) {
    std::ofstream(folder / "config.json") << config;
    return veloxquant(std::string("inspect --format ") + format + " " + folder.string());
  };
  const std::string nested =
      "{\"hidden_size\": 8, \"rope_scaling\": " + std::string(500'000, '[') + std::string(500'000, ']') + "}";
  const Outcome table = inspect("table", nested);
  EXPECT_EQ(table.exit_code, 2) << table.err;
  EXPECT_THAT(table.out, HasSubstr("nests deeper than 32 levels"));
  EXPECT_THAT(table.out, Not(HasSubstr("hidden_size")));
  const Outcome run = inspect("json", nested);
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(nlohmann::json::parse(run.out)["config"], nlohmann::json::object());
  const Outcome lengthy = inspect("table", "{\"model_type\": \"" + std::string(100'000, 'x') + "\"}");
  EXPECT_EQ(lengthy.exit_code, 2) << lengthy.err;
  EXPECT_THAT(lengthy.out, HasSubstr("xxx... (100002 bytes)"));
  EXPECT_LT(lengthy.out.size(), 5000u);
  std::filesystem::remove_all(folder);
}

// Files that cannot be opened are a reason beside the others.
TEST(Command, InspectSaysWhatItKnowsBesideFilesThatCannotBeRead) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("veloxquant_circles_" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  std::filesystem::create_symlink("config.json", folder / "config.json");
  const Outcome circle = veloxquant("inspect " + folder.string());
  EXPECT_EQ(circle.exit_code, 2);
  EXPECT_THAT(circle.err, HasSubstr("cannot look for config.json"));
  EXPECT_THAT(circle.err, HasSubstr("symbolic links"));
  std::filesystem::remove(folder / "config.json");
  std::filesystem::create_symlink(std::filesystem::path(kDemo) / "config.json", folder / "config.json");
  for (const char* file : {"tokenizer.json", "model.safetensors"})
    std::filesystem::create_symlink(file, folder / file);
  const Outcome run = veloxquant("inspect --format json " + folder.string());
  EXPECT_EQ(run.exit_code, 2) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["layers"], 6);
  ASSERT_EQ(json["reasons"].size(), 2u) << json;
  EXPECT_THAT(json["reasons"][0].get<std::string>(), HasSubstr("model.safetensors"));
  EXPECT_THAT(json["reasons"][1].get<std::string>(), HasSubstr("tokenizer.json"));
  std::filesystem::remove_all(folder);
}

// Artifacts that no cache would take.
TEST(Command, InspectForecastsNothingOfArtifactsThatAreRefused) {
  using namespace veloxquant;
  const auto file =
      std::filesystem::path(testing::TempDir()) / ("veloxquant_" + std::to_string(getpid()) + ".safetensors");
  const auto inspect = [&](double target_bits, float last) {
    ArtifactStore store;
    write_settings(SpectralSettings{.model = "m",
                                    .layers = 1,
                                    .kv_heads = 1,
                                    .head_dim = 8,
                                    .target_bits = target_bits,
                                    .rope = "none"},
                   store);
    store.set_fact("sensitivity", "measured");
    for (const Role role : {Role::keys, Role::values}) {
      const auto put = [&](const char* what, Shape shape, float value) {
        Tensor tensor = Tensor::zeros(shape, DType::f32);
        for (float& x : tensor.span<float>()) x = value;
        store.put(spectral_tensor(0, role, what), tensor);
        return tensor;
      };
      put("mean", {1, 8}, 0);
      put("lambda", {1, 8}, 1);
      put("weight", {1}, 1);
      put("inverse", {1, 8, 8}, 1);
      put("basis", {1, 8, 8}, 1).span<float>().back() = last;
    }
    store.save(file);
    return veloxquant("inspect " + file.string());
  };
  const Outcome good = inspect(2, 1);
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("forecast of KL"));
  const Outcome infinite = inspect(2, INFINITY);
  EXPECT_EQ(infinite.exit_code, 2);
  EXPECT_THAT(infinite.err, HasSubstr("layers.0.keys.basis"));
  const Outcome budget = inspect(99, 1);
  EXPECT_EQ(budget.exit_code, 2);
  EXPECT_THAT(budget.err, HasSubstr("'target_bits' is 99"));
  for (const Outcome* refused : {&infinite, &budget})
    EXPECT_THAT(refused->out, Not(HasSubstr("forecast of KL")));
  std::filesystem::remove(file);
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

TEST(Command, RefusalsSayWhatToWrite) {
  const auto message = [](const std::string& method) {
    const Outcome run = veloxquant(std::string("plan --model ") + kDemo + " --method " + method);
    EXPECT_EQ(run.exit_code, 2) << method;
    return run.err;
  };
  EXPECT_THAT(message("small"), HasSubstr("spectral:1.5 needs artifacts of this model (--artifacts DIR)"));
  EXPECT_THAT(message("trellis:2:centre=true"), HasSubstr("`veloxquant precompute --method mean`"));
  EXPECT_THAT(message("small:2"), HasSubstr("small is a preset for spectral:1.5 and takes no width"));
  EXPECT_THAT(message("small:2"), HasSubstr("write 'spectral:2'"));
  EXPECT_THAT(message("turboquant_mse:2.5"), HasSubstr("turboquant_mse has whole widths, 1, 2, "));
  EXPECT_THAT(message("turboquant_mse --bits 2.5"), HasSubstr("turboquant_mse has whole widths, 1, 2, "));
  EXPECT_THAT(message("trellis:2,trellis:3"), HasSubstr("a plan is of one method"));
}

TEST(Command, PlanSaysWhatDoesNotFit) {
  const std::string plan = std::string("plan --method turboquant_mse:4 --model ") + kDemo;
  EXPECT_THAT(veloxquant(plan + " --memory 1K").out, HasSubstr("in 1K               nothing fits"));
  const std::string alone = veloxquant(plan + " --memory 10M").out;
  EXPECT_THAT(alone, HasSubstr("tokens fits when cache and tables have it alone\n"));
  EXPECT_THAT(alone, HasSubstr("\nbeside the weights  the weights (12."));
  EXPECT_THAT(veloxquant(plan + " --memory 1G").out, HasSubstr("\nbeside the weights  a context of "));
  const auto beside = [&](const std::string& memory) {
    return nlohmann::json::parse(
        veloxquant(plan + " --format json " + memory).out)["longest_context_beside_weights"];
  };
  EXPECT_TRUE(beside("").is_null());
  EXPECT_EQ(beside("--memory 10M"), 0);
  EXPECT_GT(beside("--memory 1G"), 0);
}

TEST(Command, PlanKeepsColumnsApart) {
  const std::string plan =
      veloxquant(std::string("plan --method trellis:2:transform=hadamard:seed=123456 --model ") + kDemo).out;
  EXPECT_THAT(plan, HasSubstr("layer   keys                                      values  "));
  EXPECT_THAT(plan, HasSubstr("0 to 5  trellis:2:transform=hadamard:seed=123456  trellis:2"));
}

TEST(Command, DoctorFindsThisMachineGood) {
  const Outcome run = veloxquant("doctor");
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("all good"));
}

TEST(Command, DoctorSpeaksToPrograms) {
  const Outcome run = veloxquant("doctor --format json");
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["schema"], "veloxquant.doctor/1");
  EXPECT_EQ(json["good"], true);
  EXPECT_THAT(json["cpu_levels"].dump(), HasSubstr(json["cpu_level"].get<std::string>()));
  EXPECT_THAT(json["sample_text"].get<std::string>(), HasSubstr("sample_text.md"));
  ASSERT_GE(json["checks"].size(), 9u);
  const std::string table = veloxquant("doctor").out;
  for (const auto& check : json["checks"]) {
    EXPECT_EQ(check["same_codes"], true) << check;
    EXPECT_LT(check["attention_difference"], 1e-4) << check;
    EXPECT_THAT(table, HasSubstr("\n  " + check["method"].get<std::string>() + " "));
  }
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
