#include "io/file_ops.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>

namespace veloxquant::io {
namespace {

thread_local FileOps* override_of_this_thread = nullptr;

}  // namespace

int FileOps::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
int FileOps::close(int fd) { return ::close(fd); }
int FileOps::status(int fd, struct stat* out) { return ::fstat(fd, out); }
ssize_t FileOps::read(int fd, void* into, std::size_t size) { return ::read(fd, into, size); }
ssize_t FileOps::write(int fd, const void* from, std::size_t size) { return ::write(fd, from, size); }
int FileOps::sync(int fd) { return ::fsync(fd); }
int FileOps::rename(const char* from, const char* to) { return std::rename(from, to); }
int FileOps::unlink(const char* path) { return ::unlink(path); }

void* FileOps::map(int fd, std::size_t size) {
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  return address == MAP_FAILED ? nullptr : address;
}

FileOps& file_ops() noexcept {
  static FileOps operating_system;
  return override_of_this_thread != nullptr ? *override_of_this_thread : operating_system;
}

FileOpsOverride::FileOpsOverride(FileOps& ops) noexcept : previous_(override_of_this_thread) {
  override_of_this_thread = &ops;
}

FileOpsOverride::~FileOpsOverride() { override_of_this_thread = previous_; }

}  // namespace veloxquant::io
