#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "../../cli/report.hpp"

namespace veloxquant::cli {
namespace {

using testing::HasSubstr;
using Json = nlohmann::ordered_json;

MethodResult full_row() {
  MethodResult r;
  r.method = {MethodSpec::parse("trellis:2"), MethodSpec::parse("trellis:3")};
  r.arithmetic = "bf16";
  r.bits_per_element = 2.625;
  r.resident_bytes = 5500000;
  r.method_bytes = 4096;
  r.memory = MemoryFigures{5500000, 5510000, 26200000};
  r.perplexity = 9.01;
  r.kl = 0.0312;
  r.kl_stderr = 0.00123;
  r.same_top1 = 0.8381;
  r.recall = 0.9;
  r.recall_asked = 40;
  r.attention_error = {0.1, 0.3};
  r.prefill_tokens_per_s = Spread{2000, 1900, 2100};
  r.decode_tokens_per_s = Spread{99.5, 99.5, 99.5};
  r.encode_us_per_token = Spread{37.1, 37.0, 37.3};
  return r;
}

MethodResult empty_row() {
  MethodResult r;
  r.method = {MethodSpec::parse("affine:4"), MethodSpec::parse("affine:4")};
  r.baseline = true;
  r.arithmetic = "bf16";
  return r;
}

MethodResult reference_row() {
  MethodResult r = empty_row();
  r.method = {MethodSpec::parse("fp32"), MethodSpec::parse("fp32")};
  r.reference = true;
  r.baseline = false;
  r.kl = r.kl_stderr = 0;
  r.same_top1 = 1;
  r.attention_error = {0, 0};
  return r;
}

BenchmarkReport report() {
  return {{{"cpu", "a | b"}, {"threads", 2}},
          {{"name", "probe"}, {"weights", "bf16"}},
          {{"text", "val.txt"}, {"sinks", 4}, {"recent", 0}, {"bos", nullptr}},
          {reference_row(), full_row(), empty_row()},
          {{{MethodSpec::parse("q8_0"), MethodSpec::parse("q8_0")},
            "[integer code] head_dim 40 is not a multiple of 32"},
           {{MethodSpec::parse("q4_0:transform=hadamard"), MethodSpec::parse("q4_0:transform=hadamard")},
            "too narrow"}},
          {"the text is short"}};
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

TEST(Report, JsonHasEveryKeyInEveryRow) {
  const Json json = Json::parse(report_json(report()));
  EXPECT_EQ(json["schema"], "veloxquant.benchmark/1");
  for (const char* key : {"environment", "model", "settings", "results", "left_out", "warnings"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  ASSERT_EQ(json["results"].size(), 3u);
  for (const Json& row : json["results"]) {
    for (const char* key : {"method",
                            "spec",
                            "baseline",
                            "bits",
                            "value_bits",
                            "bits_per_element",
                            "resident_bytes",
                            "filled_bytes",
                            "resident_measured",
                            "peak_bytes",
                            "perplexity",
                            "kl",
                            "kl_stderr",
                            "same_top1",
                            "recall",
                            "attention_error",
                            "prefill_tokens_per_s",
                            "decode_tokens_per_s",
                            "encode_us_per_token",
                            "arithmetic",
                            "spread",
                            "recall_asked",
                            "forecast_kl",
                            "method_bytes",
                            "unquantized"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
  }
}

TEST(Report, JsonCarriesTheFigures) {
  const Json row = Json::parse(report_json(report()))["results"][1];
  EXPECT_EQ(row["method"], "trellis");
  EXPECT_EQ(row["spec"], "trellis:2/trellis:3");
  EXPECT_EQ(row["bits"], 2);
  EXPECT_EQ(row["value_bits"], 3);
  EXPECT_EQ(row["resident_bytes"], 5500000);
  EXPECT_EQ(row["resident_measured"], 5510000);
  EXPECT_EQ(row["peak_bytes"], 26200000);
  EXPECT_EQ(row["kl"], 0.0312);
  EXPECT_EQ(row["recall"], 0.9);
  EXPECT_EQ(row["attention_error"], Json({0.1, 0.3}));
  EXPECT_EQ(row["prefill_tokens_per_s"], 2000);
  EXPECT_EQ(row["spread"]["prefill_tokens_per_s"], Json({1900, 2100}));
  EXPECT_EQ(row["unquantized"]["sinks"], 4);
  EXPECT_EQ(row["unquantized"]["weights"], "bf16");
  EXPECT_TRUE(row["forecast_kl"].is_null());
}

TEST(Report, WhatWasNotMeasuredIsNull) {
  const Json row = Json::parse(report_json(report()))["results"][2];
  for (const char* key :
       {"bits_per_element", "resident_bytes", "filled_bytes", "resident_measured", "peak_bytes", "perplexity",
        "kl", "kl_stderr", "same_top1", "recall", "attention_error", "prefill_tokens_per_s",
        "decode_tokens_per_s", "encode_us_per_token", "forecast_kl"}) {
    EXPECT_TRUE(row[key].is_null()) << key << " is " << row[key];
  }
  EXPECT_TRUE(row["spread"]["decode_tokens_per_s"].is_null());
}

TEST(Report, TheReferenceIsNamedAndComesFirst) {
  const Json row = Json::parse(report_json(report()))["results"][0];
  EXPECT_EQ(row["method"], "unquantized");
  EXPECT_EQ(row["kl"], 0);
  EXPECT_TRUE(row["perplexity"].is_null());
}

TEST(Report, TableIsAlignedInStackedBlocks) {
  const auto text = lines(report_table(report(), 120));
  ASSERT_GT(text.size(), 12u);
  for (const std::size_t head : {0u, 6u}) {
    EXPECT_TRUE(text[head].starts_with("method"));
    EXPECT_EQ(text[head + 1], std::string(text[head].size(), '-'));
    for (std::size_t row = head + 2; row < head + 5; ++row) EXPECT_EQ(text[row].size(), text[head].size());
    EXPECT_EQ(text[head + 5], "");
  }
  EXPECT_TRUE(text[2].starts_with("unquantized "));
  EXPECT_EQ(
      text[3],
      "trellis:2/trellis:3  2.625      5.50     26.2      9.0100  0.0312 +-0.0012    83.81  0.900 +-0.052"
      "     0.200");
  EXPECT_EQ(text[9], "trellis:2/trellis:3  2000 [1900, 2100]      99.5       37.1");
}

TEST(Report, TableFitsTheWidthAskedFor) {
  for (const std::size_t width : {80u, 100u, 120u, 400u}) {
    for (const std::string& line : lines(report_table(report(), width)))
      EXPECT_LE(line.size(), width) << line;
  }
  EXPECT_TRUE(lines(report_table(report(), 400))[0].ends_with("encode us"));
}

TEST(Report, TableSaysWhatWasNotMeasuredAndNotQuantized) {
  const std::string text = report_table(report(), 400);
  const std::string row = lines(text)[4];
  EXPECT_TRUE(row.starts_with("affine:4 "));
  EXPECT_EQ(std::count(row.begin(), row.end(), '-'), 11);
  EXPECT_THAT(
      text,
      HasSubstr("Not quantized  the first 4 tokens and the newest 0 of the cache (exact); weights (bf16)"));
  EXPECT_THAT(text, HasSubstr("Left out       q8_0: head_dim 40"));
  EXPECT_THAT(text, HasSubstr("Left out       q4_0 rotated: too narrow")) << "as rows of the table are named";
  const Json left_out = Json::parse(report_json(report()))["left_out"];
  EXPECT_EQ(left_out[0], (Json{{"method", "q8_0:8"}, {"reason", "head_dim 40 is not a multiple of 32"}}));
  EXPECT_EQ(left_out[1]["method"], "q4_0:4:transform=hadamard") << "as it can be given to --method";
  EXPECT_THAT(text, HasSubstr("Warning        the text is short"));
}

TEST(Report, LargeTablesAreSaid) {
  BenchmarkReport r = report();
  EXPECT_EQ(report_table(r).find("Tables"), std::string::npos);
  r.results[1].method_bytes = 1310208;
  EXPECT_THAT(report_table(r, 400), HasSubstr("Tables         held beside the caches, once for all caches of "
                                              "the model: trellis:2/trellis:3 1.31 MB"));
}

// Facts of artifacts and names of folders may be a stranger's.
TEST(Report, NotesHoldNoControlCharactersAndNoTags) {
  BenchmarkReport r = report();
  r.settings["artifacts.spectral"] = "a.safetensors";
  r.settings["artifacts.spectral.text"] = "\x1b[31m<script>\nWarning  forged";
  const std::string table = report_table(r, 400);
  EXPECT_THAT(table, HasSubstr("forged"));
  EXPECT_EQ(table.find('\x1b'), std::string::npos);
  EXPECT_EQ(table.find("\nWarning  forged"), std::string::npos);
  EXPECT_EQ(report_markdown(r).find("<script>"), std::string::npos);
}

TEST(Report, ASyntheticContextIsSaidAndItsSizeShown) {
  BenchmarkReport r = report();
  EXPECT_EQ(report_table(r).find("filled MB"), std::string::npos);
  EXPECT_EQ(report_table(r).find("Synthetic"), std::string::npos);
  r.settings["fill_context"] = 131072;
  r.results[1].filled_bytes = 123400000;
  const std::string text = report_table(r);
  EXPECT_THAT(lines(text)[0], HasSubstr("cache MB  filled MB  peak MB"));
  EXPECT_THAT(lines(text)[3], HasSubstr(" 123.4 "));
  EXPECT_THAT(text, HasSubstr("Synthetic      decode speed is after 131072 tokens of normal noise"));
}

TEST(Report, NamesAreForPeople) {
  const auto name = [](const char* keys, const char* values) {
    MethodResult r;
    r.method = {MethodSpec::parse(keys), MethodSpec::parse(values)};
    return display_name(r);
  };
  EXPECT_EQ(name("fp16", "fp16"), "fp16");
  EXPECT_EQ(name("q4_0:transform=hadamard", "q4_0:transform=hadamard"), "q4_0 rotated");
  EXPECT_EQ(name("q4_0:transform=haar:seed=3", "q8_0"), "q4_0:transform=haar:seed=3/q8_0");
  EXPECT_EQ(name("balanced", "balanced"), "spectral:2.25 (balanced)");
  EXPECT_EQ(name("balanced", "fp16"), "spectral:2.25/fp16");
  EXPECT_EQ(name("trellis:2", "trellis:2:transform=haar"), "trellis:2/trellis:2:transform=haar");
}

TEST(Report, SettingsAreWhatAPersonNeeds) {
  BenchmarkReport r = report();
  r.model["fingerprint"] = "f00d";
  r.settings = {{"text", "val.txt"},
                {"text_xxh3", "beef"},
                {"text_tokens", 16067},
                {"seq_len", 512},
                {"skip", 0},
                {"windows", 2},
                {"artifacts.spectral", "a/spectral.safetensors"},
                {"artifacts.spectral.model", "f00d"},
                {"artifacts.spectral.text", "book.txt"},
                {"artifacts.spectral.gain", "true"},
                {"artifacts.spectral.sinks", "4"}};
  const std::string text = report_table(r, 400);
  EXPECT_THAT(text, HasSubstr("Settings       text val.txt (16067 tokens), 2 windows of 512 tokens\n"));
  EXPECT_THAT(
      text,
      HasSubstr("Artifacts      spectral: a/spectral.safetensors, of this model, calibrated on book.txt, "
                "for 4 exact tokens at the start\n"));
  r.settings["windows"] = r.settings["num_runs"] = 1;
  r.settings["artifacts.spectral.windows"] = r.settings["artifacts.spectral.sinks"] = "1";
  const std::string one = report_table(r, 400);
  EXPECT_THAT(one, HasSubstr("(16067 tokens), 1 window of 512 tokens, 1 timed run\n"));
  EXPECT_THAT(one, HasSubstr("on book.txt, 1 window, for 1 exact token at the start\n"));
  r.settings["artifacts.spectral.model"] = "other";
  EXPECT_EQ(report_table(r, 400).find("of this model"), std::string::npos);
  EXPECT_THAT(report_json(r), HasSubstr("artifacts.spectral.gain")) << "all facts stay in the JSON";
}

TEST(Report, VerdictsFollowFromTheRows) {
  BenchmarkReport r = report();
  MethodResult fp16 = full_row();
  fp16.method = {MethodSpec::parse("fp16"), MethodSpec::parse("fp16")};
  fp16.baseline = true;
  fp16.bits_per_element = 16;
  fp16.kl = 1e-5;
  fp16.decode_tokens_per_s = Spread{199, 190, 210};
  MethodResult better = full_row();
  better.method = {MethodSpec::parse("spectral:2.25"), MethodSpec::parse("spectral:2.25")};
  better.kl = 0.02;
  better.decode_tokens_per_s = Spread{195, 180, 200};
  r.results = {reference_row(), full_row(), better, fp16};
  auto verdicts = report_verdicts(r);
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[0].name, "trellis:2/trellis:3");
  EXPECT_EQ(
      verdicts[0].text,
      "2.62 bits per element, 6.1 times less than fp16; KL 0.0312 +- 0.001, the most probable token kept in "
      "83.8 % of places; fp16 decodes 2.00 times as fast. spectral:2.25 is no larger and loses less.");
  EXPECT_EQ(verdicts[1].name, "spectral:2.25 (balanced)");
  EXPECT_THAT(verdicts[1].text, HasSubstr("decodes as fast as fp16 within the range of the runs."));
  r.results[2].method_bytes = 1350000;
  verdicts = report_verdicts(r);
  EXPECT_THAT(verdicts[1].text, HasSubstr("less than fp16, beside 1.35 MB of tables; KL"));
  EXPECT_EQ(verdicts[0].text.find("no larger"), std::string::npos) << "tables count";
  r.results[2].method_bytes = 4096;
  r.results[2].kl = 0.0311;
  verdicts = report_verdicts(r);
  EXPECT_EQ(verdicts[0].text.find("loses less"), std::string::npos) << "within the standard errors";
}

TEST(Report, RecallHasAnErrorAlsoWhereAllIsRecalled) {
  MethodResult r = full_row();  // 36 of 40
  EXPECT_NEAR(*recall_error(r), std::sqrt(38.0 / 44 * 6 / 44 / 44), 1e-12);
  r.recall = 1;
  EXPECT_GT(*recall_error(r), 0.02);
  r.recall_asked = 0;
  EXPECT_FALSE(recall_error(r));
}

TEST(Report, TheMemoryPlotCountsTables) {
  BenchmarkReport r = report();
  r.results[1].memory_by_context = {{1024, 1000000}, {2048, 2000000}};
  r.results[1].method_bytes = 1350000;
  EXPECT_THAT(report_html(r), HasSubstr("trellis:2/trellis:3: 1024 tokens, 2.35 MB"));
}

// Names may be a stranger's.
TEST(Report, ThePageHoldsNoTagsOfOthers) {
  BenchmarkReport r = report();
  r.model["name"] = "<script>";
  r.settings = {{"text", "<b>\x1b"}, {"windows", 1}, {"seq_len", 2}};
  const std::string page = report_html(r);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find('\x1b'), std::string::npos);
  EXPECT_THAT(page, HasSubstr("text &lt;b&gt;"));
}

TEST(Report, MarkdownIsATable) {
  const auto text = lines(report_markdown(report()));
  EXPECT_TRUE(text[0].starts_with("| method | bits per element |"));
  EXPECT_TRUE(text[1].starts_with("| --- | ---: |"));
  for (std::size_t row = 0; row < 5; ++row)
    EXPECT_EQ(std::count(text[row].begin(), text[row].end(), '|'), 13) << row;
  EXPECT_THAT(report_markdown(report()), HasSubstr("- Environment: cpu a | b"));
}

TEST(Report, CsvHasOneLineAMethodAndNothingForNothing) {
  const auto text = lines(report_csv(report()));
  ASSERT_EQ(text.size(), 4u);
  const auto fields = std::count(text[0].begin(), text[0].end(), ',');
  for (const std::string& line : text) EXPECT_EQ(std::count(line.begin(), line.end(), ','), fields);
  EXPECT_TRUE(text[2].starts_with("trellis:2/trellis:3,2,3,2.625,5500000,26200000,9.01,0.0312,"));
  EXPECT_EQ(text[3], "affine:4,4,4,,,,,,,,,0,,,,,,0,bf16,,");
}

}  // namespace
}  // namespace veloxquant::cli
