#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>

#include "core/quote.hpp"
#include "io/atomic_file.hpp"
#include "io/file.hpp"

namespace veloxquant {

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const io::File file("read", path, O_RDONLY | O_NONBLOCK);
  std::string bytes(file.size(max_bytes), '\0');
  std::size_t filled = 0;
  while (true) {
    // One byte of room beyond the stated size tells the file's end from a file that grows.
    if (filled == bytes.size()) bytes.resize(filled + std::max<std::size_t>(1, filled / 2));
    const std::size_t got = file.read(std::as_writable_bytes(std::span(bytes)).subspan(filled));
    if (got == 0) break;
    filled += got;
    if (filled > max_bytes) {
      throw IoError("read",
                    fmt::format("{} holds more than the limit of {} bytes", quote(path.string()), max_bytes));
    }
  }
  bytes.resize(filled);
  return bytes;
}

void require_writable(const std::filesystem::path& path) {
  // To open a pipe would wait for its reader.
  if (!io::AtomicFile::replaces(path)) return;
  io::AtomicFile file(path);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  io::AtomicFile file(path);
  file.write(std::as_bytes(std::span(bytes)));
  file.commit();
}

}  // namespace veloxquant
