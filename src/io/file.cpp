#include "io/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"
#include "io/file_ops.hpp"

namespace veloxquant::io {
void throw_errno(const std::string& operation, const char* doing, const std::filesystem::path& path) {
  const int code = errno;
  throw IoError(operation, fmt::format("cannot {} {}: {} (errno {})", doing, quote(path.string()),
                                       std::generic_category().message(code), code));
}

File::File(std::string operation, std::filesystem::path path, int flags, mode_t mode)
    : operation_(std::move(operation)), path_(std::move(path)) {
  fd_ = retry_interrupted([&] { return file_ops().open(path_.c_str(), flags | O_CLOEXEC, mode); });
  if (fd_ < 0) fail("open");
}

File::~File() {
  if (fd_ >= 0) file_ops().close(fd_);
}

void File::fail(const char* doing) const { throw_errno(operation_, doing, path_); }

std::uint64_t File::size(std::uint64_t max_bytes) const {
  struct stat status{};
  if (retry_interrupted([&] { return file_ops().status(fd_, &status); }) != 0) fail("examine");
  if (!S_ISREG(status.st_mode)) {
    throw IoError(operation_, fmt::format("{} is {}; a regular file is required", quote(path_.string()),
                                          S_ISDIR(status.st_mode) ? "a folder" : "a pipe or a device"));
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) {
    throw IoError(operation_,
                  fmt::format("{} holds {} bytes; the limit is {}", quote(path_.string()), size, max_bytes));
  }
  return size;
}

std::size_t File::read(std::span<std::byte> into) const {
  const ssize_t got = retry_interrupted([&] { return file_ops().read(fd_, into.data(), into.size()); });
  if (got < 0) fail("read");
  return static_cast<std::size_t>(got);
}

void File::write(std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t put = retry_interrupted([&] { return file_ops().write(fd_, bytes.data(), bytes.size()); });
    if (put == 0) errno = ENOSPC;  // no progress and no reason given: without this the loop would not end
    if (put <= 0) fail("write");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void File::sync() const {
  if (retry_interrupted([&] { return file_ops().sync(fd_); }) != 0) fail("flush to the disk");
}

void File::sync_folder() const {
  if (retry_interrupted([&] { return file_ops().sync(fd_); }) == 0) return;
  if (errno != EINVAL && errno != ENOTSUP) fail("flush to the disk the folder");
}

void File::close() {
  // Linux releases the descriptor even when close reports an error or an interruption: never close twice.
  if (file_ops().close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail("close");
}

std::shared_ptr<const void> File::map(std::size_t size) const {
  void* address = file_ops().map(fd_, size);
  if (address == nullptr) fail("map");
  return {address, [size](const void* mapped) { ::munmap(const_cast<void*>(mapped), size); }};
}

}  // namespace veloxquant::io
