// `veloxquant benchmark` from the outside: exit codes, streams, files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace veloxquant {
namespace {

using testing::HasSubstr;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VELOXQUANT_SANITIZED
#endif
#endif

struct Outcome {
  int code = 0;
  std::string out, err;
};

std::string content(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class Command : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Runs `veloxquant benchmark` with the demo model and its sample text.
  Outcome run(const std::string& arguments,
              const std::string& model = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama") const {
    const std::string command = "'" VELOXQUANT_COMMAND "' benchmark --model '" + model + "' --threads 1 " +
                                arguments + " >'" + (folder_ / "out").string() + "' 2>'" +
                                (folder_ / "err").string() + "'";
    const int status = std::system(command.c_str());
    return {WEXITSTATUS(status), content(folder_ / "out"), content(folder_ / "err")};
  }

  std::string inspect(const std::string& method, const std::string& format) const {
    const std::string command = "'" VELOXQUANT_COMMAND "' inspect --format " + format + " '" +
                                (folder_ / (method + ".safetensors")).string() + "' >'" +
                                (folder_ / "inspected").string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return content(folder_ / "inspected");
  }
  // `inspect` shows how the artifacts' own two bits are spread, and their forecast.
  void expect_budget(const std::string& method, double forecast_kl) const {
    EXPECT_THAT(inspect(method, "table"), HasSubstr("budget: 2 bits per element, of which "));
    EXPECT_THAT(inspect(method, "table"), HasSubstr("bits per element by KV head"));
    const auto json = nlohmann::json::parse(inspect(method, "json"));
    EXPECT_NEAR(json["budget"]["forecast_kl"].get<double>(), forecast_kl, 1e-6 * forecast_kl);
    ASSERT_EQ(json["budget"]["layers"].size(), 6u);
    double bits = 0;
    for (const auto& layer : json["budget"]["layers"]) {
      for (const char* role : {"keys", "values"}) {
        for (const auto& head : layer[role]) bits += head.get<double>() / 24;
      }
    }
    EXPECT_NEAR(bits, json["budget"]["bits_per_element"].get<double>(), 1e-9);
    EXPECT_FALSE(json["forecast"].empty());
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("veloxquant-command-test-" + std::to_string(getpid()));
  const std::string tiny_ = " --seq-len 256 --windows 1 --recall 0 --num-runs 1 --no-baselines ";
};

TEST_F(Command, PrintsATableAndWritesTheReport) {
  const auto report = folder_ / "report.json";
  const Outcome outcome =
      run("--method turboquant_mse --bits 3" + tiny_ + "--output '" + report.string() + "'");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("method ")) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("turboquant_mse:3 "));
  EXPECT_THAT(outcome.out, HasSubstr("sample_text.md"));
  EXPECT_THAT(outcome.out, HasSubstr("1 window of 256 tokens, 1 timed run of 32 decoded tokens"));
  EXPECT_THAT(outcome.err, HasSubstr("window 1 of 1"));
  EXPECT_EQ(outcome.err.find('\r'), std::string::npos) << "a bar is for terminals";

  const auto json = nlohmann::json::parse(content(report));
  EXPECT_EQ(json["schema"], "veloxquant.benchmark/1");
  ASSERT_EQ(json["results"].size(), 2u);
  const int shown = std::system(("'" VELOXQUANT_COMMAND "' inspect '" VELOXQUANT_SOURCE_DIR
                                 "/models/demo/probe-6m-llama' | grep -q 'fingerprint *" +
                                 json["model"]["fingerprint"].get<std::string>() + "$'")
                                    .c_str());
  EXPECT_EQ(shown, 0);
  const auto& row = json["results"][1];
  EXPECT_TRUE(row["recall"].is_null());
  EXPECT_GT(row["kl"], 0);
#ifndef VELOXQUANT_SANITIZED
  EXPECT_GT(row["peak_bytes"], row["resident_bytes"]);
  EXPECT_GT(row["resident_measured"].get<double>(), 0.8 * row["resident_bytes"].get<double>());
  EXPECT_LT(row["resident_measured"].get<double>(), row["resident_bytes"].get<double>() + 1e6);
#endif
}

TEST_F(Command, QuietIsQuietAndFormatsAreServed) {
  const Outcome csv = run("--method fp16 --quiet --format csv" + tiny_);
  ASSERT_EQ(csv.code, 0) << csv.err;
  EXPECT_EQ(csv.err, "");
  EXPECT_TRUE(csv.out.starts_with("method,bits,"));
  const Outcome json = run("--method fp16 --quiet --format json" + tiny_);
  EXPECT_TRUE(nlohmann::json::accept(json.out));
}

// The shares of the work in the order in which they were printed, "  3 % window 1 of 1", and the stages.
std::vector<std::pair<int, std::string>> progress_of(const std::string& err) {
  std::vector<std::pair<int, std::string>> lines;
  std::istringstream stream(err);
  for (std::string line; std::getline(stream, line);) {
    int percent = 0, end = 0;
    if (std::sscanf(line.c_str(), "%d %% %n", &percent, &end) == 1 && end > 0)
      lines.emplace_back(percent, line.substr(static_cast<std::size_t>(end)));
  }
  return lines;
}

TEST_F(Command, ProgressHasOneScale) {
  const Outcome outcome = run("--method fp16,trellis:2 --seq-len 256 --windows 2 --recall 0 --num-runs 3 ");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = progress_of(outcome.err);
  ASSERT_GE(lines.size(), 6u) << outcome.err;
  EXPECT_EQ(lines.front(), std::pair(0, std::string("loading the model")));
  EXPECT_EQ(lines.back().second, "memory");
  EXPECT_GT(lines.back().first, 90);
  EXPECT_LT(lines.back().first, 100);
  for (std::size_t i = 1; i < lines.size(); ++i) EXPECT_GE(lines[i].first, lines[i - 1].first) << outcome.err;
  EXPECT_EQ(run("--method fp16 --quiet" + tiny_).err, "");
}

TEST_F(Command, ASyntheticContextIsSaidInTheReport) {
  const Outcome table = run("--method turboquant_mse:4 --fill-context 3000" + tiny_);
  ASSERT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("filled MB"));
  EXPECT_THAT(table.out, HasSubstr("3000 tokens of normal noise"));
}

TEST_F(Command, PathsMayHoldAnyBytes) {
  const auto link = folder_ / "caf\xe9";
  std::filesystem::create_directory_symlink(VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama", link);
  const Outcome outcome = run("--method fp16 --format json" + tiny_, link.string());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err.find("was not measured"), std::string::npos) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["model"]["name"], "caf\xef\xbf\xbd");
}

TEST_F(Command, SaysWhenTheTextIsShort) {
  std::ofstream(folder_ / "text") << std::string(3000, 'x') << content(VELOXQUANT_SOURCE_DIR "/LICENSE");
  const std::string text = "--text '" + (folder_ / "text").string() + "' ";
  const Outcome fewer =
      run("--method fp16 --recall 0 --num-runs 1 --no-baselines --seq-len 128 --windows 1000 " + text);
  ASSERT_EQ(fewer.code, 0) << fewer.err;
  EXPECT_THAT(fewer.err, HasSubstr("of the 1000 windows asked for"));
  const Outcome none = run("--method fp16 --seq-len 100000 " + text);
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("--seq-len 100000 needs 99999"));
}

TEST_F(Command, RefusalsHaveTheirExitCodes) {
  EXPECT_EQ(run("").code, 1) << "--method is required";
  EXPECT_EQ(run("--method fp16 --windows 0").code, 1);
  EXPECT_EQ(run("--method fp16 --windows x").code, 1);
  EXPECT_EQ(run("--method fp16 --format yaml").code, 1);
  EXPECT_EQ(run("--method fp16 --scale two").code, 1);
  EXPECT_EQ(run("--method fp16 --arithmetic fp64").code, 1);
  EXPECT_EQ(run("--method fp16 --no-such-flag").code, 1);
  EXPECT_EQ(run("--method no_such_method").code, 2);
  EXPECT_EQ(run("--method trellis:7" + tiny_).code, 2);
  EXPECT_EQ(run("--method fp16 --bits 4" + tiny_).code, 2);
  EXPECT_EQ(run("--method fp16 --recall 1 --seq-len 100").code, 2) << "facts need room";
  EXPECT_EQ(run("--method fp16 --text /no/such/file").code, 2);
  EXPECT_EQ(run("--method spectral --artifacts /no/such/folder").code, 2);
  EXPECT_EQ(run("--method fp16 --artifacts '" + folder_.string() + "'").code, 2) << "nothing to calibrate";
  EXPECT_EQ(run("--method fp16 --output /no/such/folder/report.json").code, 4);
}

// A model's weights may take minutes to read: without them, the message is of the method all the same.
TEST_F(Command, MethodsAreRefusedBeforeTheWeightsAreRead) {
  const std::string model = (folder_ / "model").string();
  std::filesystem::create_directory(model);
  for (const char* file : {"/config.json", "/tokenizer.json"})
    std::filesystem::copy(std::string(VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama") + file, model);
  const auto refusal = [&](const std::string& method) {
    const Outcome outcome = run("--method " + method + tiny_, model);
    EXPECT_EQ(outcome.code, 2) << method;
    return outcome.err;
  };
  EXPECT_THAT(refusal("trellis:7"), HasSubstr("has no width of 7 bits"));
  EXPECT_THAT(refusal("fp16:4"), HasSubstr("has no width of 4 bits"));
  EXPECT_THAT(refusal("trellis:2:group=32"), HasSubstr("does not take the option 'group'"));
  EXPECT_THAT(refusal("affine:2:group=3"), HasSubstr("group"));
  EXPECT_THAT(refusal("spectral:2"), HasSubstr("precompute"));
  EXPECT_THAT(refusal("small"), HasSubstr("precompute"));
  EXPECT_THAT(refusal("trellis:2:centre=true"), HasSubstr("precompute"));
  EXPECT_THAT(refusal("trellis:2"), HasSubstr("neither model.safetensors"))
      << "nothing is wrong with the method";
}

// The system lacks nothing where the model or the text is wrong.
TEST_F(Command, WrongModelsAndTextsAreRefused) {
  const std::string demo = VELOXQUANT_SOURCE_DIR "/models/demo";
  const auto refused = [&](const std::string& model, const std::string& arguments = "--method fp16") {
    const Outcome outcome = run(arguments + tiny_, model);
    EXPECT_EQ(outcome.code, 2) << model << " " << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(refused(demo),
              HasSubstr("has no config.json; models inside are '" + demo + "/probe-6m-llama'"));
  EXPECT_THAT(refused(folder_.string()), HasSubstr("has no config.json\n"));
  EXPECT_THAT(refused(demo + "/probe-6m-llama/config.json"), HasSubstr("is no folder"));
  const std::string model = demo + "/probe-6m-llama", own = (folder_ / "model").string();
  EXPECT_THAT(refused(model, "--method fp16 --text '" + folder_.string() + "' "), HasSubstr("is a folder"));
  std::filesystem::create_directory(own);
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::create_symlink(std::filesystem::path(model) / file, std::filesystem::path(own) / file);
  EXPECT_THAT(refused(own), HasSubstr("has no tokenizer.json"));
  std::ofstream(own + "/tokenizer.json") << R"({"model": {"type": "Unigram", "vocab": []}})";
  EXPECT_THAT(refused(own), HasSubstr("unsupported error"));
}

// Whoever runs as root may read files of mode 000: a folder in a file's place and a link that leads in a circle
// are what nobody can read.
TEST_F(Command, ModelFilesThatCannotBeReadAreRefused) {
  const std::filesystem::path demo = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama",
                              own = folder_ / "model";
  for (const std::string file : {"config.json", "tokenizer.json", "model.safetensors"}) {
    for (const std::string fault : {"a folder", "a circle", "no permission"}) {
      if (fault == "no permission" && geteuid() == 0) continue;
      std::filesystem::create_directory(own);
      for (const auto& entry : std::filesystem::directory_iterator(demo)) {
        if (entry.path().filename() != file)
          std::filesystem::create_symlink(entry.path(), own / entry.path().filename());
      }
      if (fault == "a folder")
        std::filesystem::create_directory(own / file);
      else if (fault == "a circle")
        std::filesystem::create_symlink(file, own / file);
      else {
        std::filesystem::copy_file(demo / file, own / file);
        std::filesystem::permissions(own / file, std::filesystem::perms::none);
      }
      const Outcome outcome = run("--method fp16" + tiny_, own.string());
      EXPECT_EQ(outcome.code, 2) << file << ", " << fault << ": " << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(file)) << fault;
      std::filesystem::remove_all(own);
    }
  }
}

TEST_F(Command, AReportThatCannotBeWrittenIsRefusedBeforeTheRun) {
  for (const std::string& output : {folder_.string(), std::string("/proc/report.json")}) {
    const Outcome outcome = run("--method fp16" + tiny_ + "--output '" + output + "'");
    EXPECT_EQ(outcome.code, 4) << output;
    EXPECT_EQ(outcome.err.find("window 1"), std::string::npos) << outcome.err;
  }
  EXPECT_TRUE(std::filesystem::is_directory(folder_));
  const Outcome device = run("--method fp16" + tiny_ + "--output /dev/null");
  EXPECT_EQ(device.code, 0) << device.err;
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  // What was measured is printed even when the file fails in the end.
  const Outcome full = run("--method fp16" + tiny_ + "--output /dev/full");
  EXPECT_EQ(full.code, 4);
  EXPECT_TRUE(full.out.starts_with("method ")) << full.out;
}

// SIGKILL at any moment, and the same command once more: the same artifacts byte for byte, and nothing besides.
TEST_F(Command, CalibrationGoesOnAfterAKill) {
  for (const std::string method : {"spectral", "ratequant"}) {
    const auto command = [&](const std::string& before, const std::string& output) {
      return before + " '" VELOXQUANT_COMMAND "' precompute --method " + method +
             " --model '" VELOXQUANT_SOURCE_DIR
             "/models/demo/probe-6m-llama' --threads 1 --num-samples 2 --sequence-length 128 --quiet "
             "--output "
             "'" +
             (folder_ / output).string() + "' >'" + (folder_ / "out").string() + "' 2>&1";
    };
    const std::string file = method + ".safetensors";
    ASSERT_EQ(std::system(command("", "whole").c_str()), 0);
    const std::string wanted = content(folder_ / "whole" / file);
    for (const char* seconds : {"0.2", "0.6", "1.5"}) {
      const std::string output = std::string("killed") + seconds;
      (void)std::system(command(std::string("timeout -s KILL ") + seconds, output).c_str());
      ASSERT_EQ(std::system(command("", output).c_str()), 0) << content(folder_ / "out");
      EXPECT_TRUE(content(folder_ / output / file) == wanted) << method << " " << seconds;
      EXPECT_FALSE(std::filesystem::exists(folder_ / output / (method + ".unfinished")));
    }
  }
}

TEST_F(Command, DryRunOfACalibrationSaysWhatItTakesAndDoesNothing) {
  const std::string base = "'" VELOXQUANT_COMMAND "' precompute --method spectral --output '" +
                           (folder_ / "none").string() + "' --quiet ";
  const std::string to = " >'" + (folder_ / "out").string() + "' 2>&1";
  ASSERT_EQ(
      std::system((base +
                   "--dry-run --model '" VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama' --num-samples 2 "
                   "--sequence-length 128" +
                   to)
                      .c_str()),
      0);
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("2 windows of 128 tokens"));
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("passes of the model over a window: 32.0"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none"));
  const std::string model = " --dry-run --model '" VELOXQUANT_SOURCE_DIR
                            "/models/demo/probe-6m-llama' --num-samples 2 --sequence-length 128";
  const auto dry = [&](const std::string& flags) {
    return WEXITSTATUS(std::system(("'" VELOXQUANT_COMMAND "' precompute --output '" +
                                    (folder_ / "none").string() + "' " + flags + model + to)
                                       .c_str()));
  };
  EXPECT_EQ(dry("--method ratequant --widths 2,3"), 0);
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("passes of the model over a window: 32.0"));
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("size of the artifacts: about 384 B"));
  EXPECT_EQ(dry("--method ratequant --sensitivity proxy"), 0);
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("passes of the model over a window: 2.0"));
  EXPECT_EQ(dry("--method vecinfer"), 0);
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("passes of the model over a window: 2.0"));
  EXPECT_EQ(dry("--method ratequant --widths 2"), 2) << "what would be refused";
  EXPECT_EQ(dry("--method ratequant --widths 1,9"), 2);
  EXPECT_EQ(dry("--method ratequant --base spectral"), 2);
  EXPECT_EQ(dry("--method ratequant --base foo"), 2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none"));
  std::ofstream(folder_ / "none") << "a file";
  EXPECT_EQ(dry("--method ratequant"), 4);
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("is no folder"));
  std::filesystem::remove(folder_ / "none");
  std::filesystem::create_directories(folder_ / "none" / "ratequant.unfinished");
  EXPECT_EQ(dry("--method ratequant"), 0);
  EXPECT_EQ(content(folder_ / "out").find("goes on from"), std::string::npos) << "nothing is kept there";
  std::ofstream(folder_ / "none" / "ratequant.unfinished" / "weights.safetensors") << "something";
  EXPECT_EQ(dry("--method ratequant"), 0);
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("goes on from"));
  EXPECT_NE(std::system((base + to).c_str()), 0);  // neither a model nor activations
  EXPECT_THAT(content(folder_ / "out"), HasSubstr("--model or --activations"));
}

TEST_F(Command, CalibrationSpeaksToPrograms) {
  const std::string model = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama";
  const auto precompute = [&](const std::string& flags) {
    const std::string command =
        "'" VELOXQUANT_COMMAND
        "' precompute --format json --threads 1 --num-samples 1 --sequence-length 128 --model '" +
        model + "' --output '" + folder_.string() + "' " + flags + " >'" + (folder_ / "out").string() +
        "' 2>'" + (folder_ / "err").string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << content(folder_ / "err");
    return nlohmann::json::parse(content(folder_ / "out"));
  };
  const auto planned = precompute("--method ratequant --dry-run");
  EXPECT_EQ(planned["schema"], "veloxquant.precompute/1");
  EXPECT_EQ(planned["dry_run"], true);
  EXPECT_EQ(planned["model"], model);
  EXPECT_TRUE(planned["activations"].is_null());
  EXPECT_EQ(planned["replaces"], false);
  EXPECT_EQ(planned["windows_asked"], 1);
  EXPECT_GT(planned["passes"], 1);
  EXPECT_FALSE(std::filesystem::exists(planned["artifacts"].get<std::string>()));

  const auto done = precompute("--method ratequant --base trellis --widths 1,2,4");
  const auto progress = progress_of(content(folder_ / "err"));
  EXPECT_EQ(progress.front(), std::pair(0, std::string("loading the model")));
  EXPECT_EQ(progress.back().second, "sensitivity");
  for (std::size_t i = 1; i < progress.size(); ++i) EXPECT_GE(progress[i].first, progress[i - 1].first);
  EXPECT_EQ(done["dry_run"], false);
  EXPECT_TRUE(std::filesystem::exists(done["artifacts"].get<std::string>()));
  EXPECT_EQ(done["text_end"], 127);
  // What `inspect` says of the same file.
  const auto inspected = nlohmann::json::parse(inspect("ratequant", "json"));
  EXPECT_EQ(done["budget"], inspected["budget"]);
  EXPECT_EQ(done["forecast"], inspected["forecast"]);
  EXPECT_FALSE(done["forecast"].empty());
  ASSERT_EQ(done["weights"].size(), 6u);
  for (const char* what : {"measured", "proxy"}) {
    double whole = 0;
    for (const auto& layer : done["weights"])
      whole += layer["keys"][what].get<double>() + layer["values"][what].get<double>();
    EXPECT_NEAR(whole, 1, 1e-9) << what;
  }
  EXPECT_EQ(precompute("--method ratequant --dry-run")["replaces"], true);
  const auto proxy = precompute("--method ratequant --sensitivity proxy");
  EXPECT_TRUE(proxy["weights"][0]["keys"]["measured"].is_null());
  EXPECT_GT(proxy["weights"][0]["keys"]["proxy"], 0);
  EXPECT_TRUE(proxy["forecast"].empty());
  const auto mean = precompute("--method mean");
  EXPECT_TRUE(mean["budget"].is_null());
  EXPECT_TRUE(mean["weights"].empty());
}

TEST_F(Command, CalibratesForecastsAndWarnsOfTheSameText) {
  const std::string model = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama";
  const std::string precompute = "'" VELOXQUANT_COMMAND "' precompute --method spectral --model '" + model +
                                 "' --threads 1 --num-samples 1 --sequence-length 128 --quiet --output '" +
                                 folder_.string() + "' >'" + (folder_ / "calibrated").string() + "'";
  ASSERT_EQ(std::system(precompute.c_str()), 0);
  EXPECT_THAT(content(folder_ / "calibrated"), HasSubstr("--skip 127"));
  const std::string artifacts = "--artifacts '" + folder_.string() + "' --format json ";
  const Outcome same = run("--method spectral --bits 3" + tiny_ + artifacts);
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_THAT(same.err, HasSubstr("calibrated on the first 127 tokens of this text"));
  const auto row = nlohmann::json::parse(same.out)["results"][1];
  EXPECT_EQ(row["spec"], "spectral:3");
  EXPECT_GT(row["forecast_kl"], 0);
  const auto two = nlohmann::json::parse(run("--method spectral:2" + tiny_ + artifacts).out)["results"][1];
  expect_budget("spectral", two["forecast_kl"].get<double>());
  EXPECT_THAT(row["attention"].get<std::string>(), testing::Not(""));
  const Outcome rest = run("--method spectral:3,fp16 --skip 127" + tiny_ + artifacts);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(rest.err.find("calibrated on"), std::string::npos);
  const auto rows = nlohmann::json::parse(rest.out)["results"];
  EXPECT_TRUE(rows[2]["forecast_kl"].is_null());
  EXPECT_EQ(rows[2]["method_bytes"], 0);
}

TEST_F(Command, SpreadsABudgetOverABaseMethod) {
  const std::string model = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama";
  const auto precompute = [&](const std::string& flags) {
    const std::string command = "'" VELOXQUANT_COMMAND "' precompute --model '" + model +
                                "' --threads 1 --num-samples 1 --sequence-length 128 --quiet --output '" +
                                folder_.string() + "' " + flags + " >'" + (folder_ / "calibrated").string() +
                                "' 2>/dev/null";
    return WEXITSTATUS(std::system(command.c_str()));
  };
  ASSERT_EQ(precompute("--method ratequant --base trellis --widths 1,2,4"), 0);
  EXPECT_THAT(content(folder_ / "calibrated"), HasSubstr("benchmark --skip 127"));
  EXPECT_THAT(content(folder_ / "calibrated"), HasSubstr("weights, in percent of their sum"));
  EXPECT_THAT(content(folder_ / "calibrated"), HasSubstr("forecast of KL"));
  const std::string artifacts = "--artifacts '" + folder_.string() + "' --format json ";
  const Outcome outcome =
      run("--method ratequant:2,ratequant:2.5:sensitivity=proxy --skip 127" + tiny_ + artifacts);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto rows = nlohmann::json::parse(outcome.out)["results"];
  EXPECT_EQ(rows[1]["spec"], "ratequant:2");
  EXPECT_LE(rows[1]["bits_per_element"], 2);
  EXPECT_GT(rows[1]["bits_per_element"], 1.9);
  EXPECT_GT(rows[1]["forecast_kl"], rows[2]["forecast_kl"]);
  const auto plan = [&](const std::string& of, const std::string& format) {
    const std::string command = "'" VELOXQUANT_COMMAND "' plan --format " + format +
                                " --method ratequant:2.5 --model '" + of + "' --artifacts '" +
                                folder_.string() + "' >'" + (folder_ / "plan").string() + "' 2>&1";
    const int code = WEXITSTATUS(std::system(command.c_str()));
    EXPECT_EQ(code, 0) << content(folder_ / "plan");
    return content(folder_ / "plan");
  };
  const auto planned = nlohmann::json::parse(plan(model, "json"));
  EXPECT_GT(planned["forecast_kl"], 0);
  EXPECT_EQ(planned["artifacts_compared"], true);
  // The widths chosen, by layer and head, are those that the bytes are counted from.
  for (const auto& layer : planned["layers"]) {
    std::size_t bytes = 0;
    for (const char* role : {"key_codes", "value_codes"}) {
      for (const auto& code : layer[role])
        bytes += 64 / 8 * static_cast<std::size_t>(code.get<std::string>()[8] - '0') + 2;
    }
    EXPECT_EQ(layer["bytes_per_token"], bytes) << layer;
  }
  EXPECT_THAT(plan(model, "table"), HasSubstr("bits by KV head\n0         keys "));
  EXPECT_THAT(content(folder_ / "plan"), HasSubstr("which is this one"));
  std::filesystem::create_directory(folder_ / "shapes");
  std::filesystem::copy(model + "/config.json", folder_ / "shapes");
  EXPECT_THAT(plan((folder_ / "shapes").string(), "table"),
              HasSubstr("not compared: the folder has no weights"));
  EXPECT_THAT(inspect("ratequant", "table"), HasSubstr("forecast of KL (nats per token):\n  1.25 bits"));
  expect_budget("ratequant", rows[1]["forecast_kl"].get<double>());
  // Each calibrated method has a file of its own in the folder.
  EXPECT_EQ(run("--method spectral:2" + tiny_ + artifacts).code, 2);
  EXPECT_EQ(run("--method ratequant:2/trellis:2:centre=true" + tiny_ + artifacts).code, 2);
  ASSERT_EQ(precompute("--method mean"), 0);
  EXPECT_EQ(run("--method ratequant:2/trellis:2:centre=true" + tiny_ + artifacts).code, 2) << "a file each";
  const Outcome both = run("--method ratequant:2,trellis:2:centre=true --skip 127" + tiny_ + artifacts);
  ASSERT_EQ(both.code, 0) << both.err;
  const auto settings = nlohmann::json::parse(both.out)["settings"];
  EXPECT_EQ(settings["artifacts.mean.method"], "mean");
  EXPECT_EQ(settings["artifacts.ratequant.base"], "trellis");
  EXPECT_EQ(precompute("--method ratequant --frame 16"), 2) << "a flag of spectral";
  EXPECT_EQ(precompute("--method ratequant --base affine --widths 1,2"), 2);
  EXPECT_EQ(precompute("--method ratequant --sensitivity none"), 2);
}

TEST_F(Command, CalibratesCodebooks) {
#ifdef VELOXQUANT_SANITIZED
  GTEST_SKIP() << "training takes minutes";
#endif
  const auto precompute = [&](const std::string& arguments) {
    const std::string command =
        "'" VELOXQUANT_COMMAND "' precompute --method vecinfer --model '" VELOXQUANT_SOURCE_DIR
        "/models/demo/probe-6m-llama' --threads 1 --num-samples 1 --quiet --output '" +
        folder_.string() + "' " + arguments + " >'" + (folder_ / "calibrated").string() + "' 2>'" +
        (folder_ / "err").string() + "'";
    return WEXITSTATUS(std::system(command.c_str()));
  };
  EXPECT_EQ(precompute("--sequence-length 512"), 2);
  EXPECT_THAT(content(folder_ / "err"), HasSubstr("give more text"));
  EXPECT_EQ(precompute("--frame 16"), 2);
  EXPECT_THAT(content(folder_ / "err"),
              HasSubstr("--frame is no flag of --method vecinfer; it belongs to spectral"));
  ASSERT_EQ(precompute("--sequence-length 1200"), 0) << content(folder_ / "err");
  EXPECT_THAT(content(folder_ / "calibrated"), HasSubstr("--skip 1199"));
  const Outcome outcome = run("--method vecinfer:2,vecinfer:3/fp16 --skip 1199 --format json" + tiny_ +
                              "--artifacts '" + (folder_ / "vecinfer.safetensors").string() + "'");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto rows = nlohmann::json::parse(outcome.out)["results"];
  EXPECT_DOUBLE_EQ(rows[1]["bits_per_element"], 2.25);
  EXPECT_DOUBLE_EQ(rows[2]["bits_per_element"], (3.25 + 16) / 2);
  EXPECT_GT(rows[2]["kl"], 0);
  EXPECT_LT(rows[2]["kl"], rows[1]["kl"]);
}

TEST_F(Command, HelpShowsDefaultsAndHidesTheMeter) {
  const Outcome help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* text : {"--seq-len", "4096", "--num-runs", "--windows", "--recall", "512", "(default: "}) {
    EXPECT_THAT(help.out, HasSubstr(text));
  }
  EXPECT_EQ(std::system("'" VELOXQUANT_COMMAND "' --help | grep -q benchmark-meter") == 0, false);
}

}  // namespace
}  // namespace veloxquant
