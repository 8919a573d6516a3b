// File calls of which one, or all from one on, go wrong.
#pragma once

#include <cerrno>
#include <string>
#include <vector>

#include "io/file_ops.hpp"

namespace veloxquant::test {

enum class Fault { no_space, io_error, interrupted, half, nothing_written };

class FaultyOps final : public io::FileOps {
 public:
  // Call number `at` (from 0) goes wrong, and with `forever` every later one too. Closing and removing are
  // not refused forever: nothing could clean up then.
  FaultyOps(Fault fault, int at, bool forever) : fault_(fault), at_(at), forever_(forever) {}

  bool struck() const { return calls_ > at_; }
  const std::vector<std::string>& log() const { return log_; }

  int open(const char* path, int flags, mode_t mode) override {
    return fails("open") ? -1 : FileOps::open(path, flags, mode);
  }
  int close(int fd) override {
    const bool failed = fails("close");
    const int saved = errno;
    const int result = FileOps::close(fd);  // Linux closes in any case
    errno = saved;
    return failed ? -1 : result;
  }
  int status(int fd, struct stat* out) override { return fails("status") ? -1 : FileOps::status(fd, out); }
  ssize_t read(int fd, void* into, std::size_t size) override {
    if (fault_ == Fault::half) return FileOps::read(fd, into, strikes("read") ? (size + 1) / 2 : size);
    return fails("read") ? -1 : FileOps::read(fd, into, size);
  }
  ssize_t write(int fd, const void* from, std::size_t size) override {
    if (fault_ == Fault::half) return FileOps::write(fd, from, strikes("write") ? (size + 1) / 2 : size);
    if (fault_ == Fault::nothing_written) return strikes("write") ? 0 : FileOps::write(fd, from, size);
    return fails("write") ? -1 : FileOps::write(fd, from, size);
  }
  int sync(int fd) override { return fails("sync") ? -1 : FileOps::sync(fd); }
  int rename(const char* from, const char* to) override {
    return fails("rename") ? -1 : FileOps::rename(from, to);
  }
  int unlink(const char* path) override {
    log_.push_back("unlink");
    return FileOps::unlink(path);
  }
  void* map(int fd, std::size_t size) override {
    return fails("map") && errno != EINTR ? nullptr : FileOps::map(fd, size);  // mapping is never interrupted
  }

 private:
  bool strikes(const char* call) {
    log_.push_back(call);
    const int number = calls_++;
    return number == at_ || (forever_ && number > at_);
  }
  bool fails(const char* call) {
    if (!strikes(call) || fault_ == Fault::half || fault_ == Fault::nothing_written) return false;
    errno = fault_ == Fault::no_space ? ENOSPC : fault_ == Fault::io_error ? EIO : EINTR;
    return true;
  }

  Fault fault_;
  int at_;
  bool forever_;
  int calls_ = 0;
  std::vector<std::string> log_;
};

}  // namespace veloxquant::test
