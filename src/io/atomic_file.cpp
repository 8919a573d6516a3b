#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"
#include "io/file_ops.hpp"

namespace veloxquant::io {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& target) {
  return target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
}

// A name that no other writer has: neither another thread, nor a killed process whose number came round
// again.
std::filesystem::path unused_name(const std::filesystem::path& folder) {
  static std::atomic<unsigned> counter{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return folder / fmt::format(".veloxquant-{}-{}-{:x}.tmp", ::getpid(), counter.fetch_add(1), now);
}

}  // namespace

bool AtomicFile::replaces(const std::filesystem::path& target) {
  std::error_code ignored;
  return !std::filesystem::is_other(std::filesystem::status(target, ignored));
}

AtomicFile::AtomicFile(std::filesystem::path target) : target_(std::move(target)) {
  if (!target_.has_filename()) {
    throw IoError("write", fmt::format("{} names no file", quote(target_.string())));
  }
  if (!replaces(target_)) {
    file_.emplace("write", target_, O_WRONLY);
    return;
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(std::filesystem::symlink_status(target_, ignored))) {
    errno = EISDIR;
    throw_errno("write", "replace", target_);
  }
  const std::filesystem::path folder = folder_of(target_);
  folder_.emplace("write", folder, O_RDONLY | O_DIRECTORY);
  temporary_ = unused_name(folder);
  file_.emplace("write", temporary_, O_WRONLY | O_CREAT | O_EXCL, 0666);
}

AtomicFile::~AtomicFile() {
  file_.reset();
  if (!renamed_ && !temporary_.empty()) file_ops().unlink(temporary_.c_str());
}

void AtomicFile::commit() {
  if (temporary_.empty()) return file_->close();
  file_->sync();
  file_->close();
  const auto rename = [&] { return file_ops().rename(temporary_.c_str(), target_.c_str()); };
  if (retry_interrupted(rename) != 0) throw_errno("write", "replace", target_);
  renamed_ = true;
  folder_->sync_folder();
}

}  // namespace veloxquant::io
