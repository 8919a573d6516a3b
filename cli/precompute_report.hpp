// What `precompute` says on stdout, for people (table) and for programs (json, docs/command-json.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <veloxquant/eval/precompute.hpp>

namespace veloxquant::cli {

// A calibration that would be done.
struct DryRun {
  std::string method;
  std::string model, activations;  // its folder or file; the other one is empty
  int layers = 0, kv_heads = 0, head_dim = 0;
  std::string arithmetic;  // empty: the activations were computed elsewhere
  std::size_t windows = 0;
  std::int64_t sequence_length = 0;
  std::optional<std::int64_t> windows_asked;  // of a text, which may have fewer; none: as many as are usual
  std::filesystem::path artifacts;
  std::filesystem::path checkpoints;  // that it goes on from if they are of the same request; empty: none
  CalibrationNeeds needs;
};

// One that is done and saved.
struct Calibration {
  std::string method;
  std::filesystem::path artifacts;
  const ArtifactStore& store;
  std::size_t windows = 0;
  std::int64_t sequence_length = 0;
  std::optional<std::int64_t> text_end;  // so many of the text's first tokens were read
  std::int64_t text_left = 0;            // tokens after those
};

void print_dry_run(const DryRun& run, const std::string& format);
void print_calibration(const Calibration& done, const std::string& format);

}  // namespace veloxquant::cli
