// A file that appears whole or not at all; <veloxquant/io/files.hpp> states the promise.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "io/file.hpp"

namespace veloxquant::io {

class AtomicFile {
 public:
  // Whether such a target is replaced, rather than written to.
  static bool replaces(const std::filesystem::path& target);
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();  // removes the temporary file unless it was committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes) { file_->write(bytes); }
  // Makes what was written the target's content. A target that is a pipe or a device is written to as it
  // comes.
  void commit();

 private:
  std::filesystem::path target_, temporary_;  // the latter empty for a target that cannot be replaced
  std::optional<File> folder_, file_;
  bool renamed_ = false;
};

}  // namespace veloxquant::io
