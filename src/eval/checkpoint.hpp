// Checkpoint: what a long calibration has found out so far, in a file, so that a run that was cut short goes on
// where it was.
//
// The file is a sealed ArtifactStore, replaced as a whole (io/files.hpp). It says which request it belongs to: what
// another request, another model or another version of the library has left there is not read.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace veloxquant {

class Checkpoint {
 public:
  // `request`: all that determines the results. Without a file nothing is kept.
  Checkpoint(std::filesystem::path file, std::string request)
      : file_(std::move(file)), request_(std::move(request)) {}

  bool keeps() const noexcept { return !file_.empty(); }
  // What a run of the same request has kept; nothing when there is none or it is damaged.
  std::optional<std::vector<double>> read() const;
  void write(const std::vector<double>& state) const;

 private:
  std::filesystem::path file_;
  std::string request_;
};

}  // namespace veloxquant
