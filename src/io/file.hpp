// An open file descriptor whose calls retry when interrupted, finish what was done in part, and throw
// IoError.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace veloxquant::io {

class File {
 public:
  // `operation` and `path` stand in the messages; `flags` as for open(2).
  File(std::string operation, std::filesystem::path path, int flags, mode_t mode = 0);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Bytes of a regular file; throws IoError for a folder, a pipe or a device, and above `max_bytes`.
  std::uint64_t size(std::uint64_t max_bytes) const;
  // Reads up to the buffer's size; 0 at the end of the file.
  std::size_t read(std::span<std::byte> into) const;
  void write(std::span<const std::byte> bytes) const;
  // Flushes to the disk. A folder on a file system that cannot flush folders counts as flushed.
  void sync() const;
  void sync_folder() const;
  // The destructor closes too, but cannot report that a network file system failed to store what was written.
  void close();
  // A read-only mapping of the first `size` > 0 bytes, independent of this descriptor's life.
  std::shared_ptr<const void> map(std::size_t size) const;

 private:
  [[noreturn]] void fail(const char* doing) const;

  std::string operation_;
  std::filesystem::path path_;
  int fd_ = -1;
};

// Throws IoError from errno: "cannot <doing> '<path>': No space left on device".
[[noreturn]] void throw_errno(const std::string& operation, const char* doing,
                              const std::filesystem::path& path);

}  // namespace veloxquant::io
