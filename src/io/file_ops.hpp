// Every call by which the io room reaches the operating system's files, so that tests can make any one of
// them fail.
//
// The functions have the meaning of their POSIX namesakes: -1 (map: nullptr) and errno on failure.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>

namespace veloxquant::io {

class FileOps {
 public:
  virtual ~FileOps() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual int close(int fd);
  virtual int status(int fd, struct stat* out);
  virtual ssize_t read(int fd, void* into, std::size_t size);
  virtual ssize_t write(int fd, const void* from, std::size_t size);
  virtual int sync(int fd);
  virtual int rename(const char* from, const char* to);
  virtual int unlink(const char* path);
  virtual void* map(int fd, std::size_t size);  // read-only
};

// The result of `call` once no signal interrupts it.
template <class Call>
auto retry_interrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// The calls that this thread uses: the operating system's own unless an override is alive.
FileOps& file_ops() noexcept;

class FileOpsOverride {
 public:
  explicit FileOpsOverride(FileOps& ops) noexcept;
  ~FileOpsOverride();
  FileOpsOverride(const FileOpsOverride&) = delete;
  FileOpsOverride& operator=(const FileOpsOverride&) = delete;

 private:
  FileOps* previous_;
};

}  // namespace veloxquant::io
