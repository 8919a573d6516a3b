// What is on the disk after each call to the operating system failed in its turn.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <tuple>
#include <veloxquant/io/files.hpp>

#include "io/faulty_ops.hpp"
#include "io/fixtures.hpp"

namespace veloxquant::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kNever = 1 << 30;

NamedTensors version(int v) {
  return {{"a", counting({100 + v}, DType::u8, v)},
          {"b", counting({7}, DType::f32, v)},
          {"e", counting({0}, DType::u8)}};
}

// Calls `work` with call 0, 1, 2, ... failing until no call is left to fail; `check` after each.
template <class Work, class Check>
int strike_each_call(Fault fault, bool forever, Work work, Check check) {
  for (int at = 0; at < 100; ++at) {
    FaultyOps ops(fault, at, forever);
    bool threw = false;
    {
      const io::FileOpsOverride scope(ops);
      try {
        work();
      } catch (const IoError&) {
        threw = true;
      }
    }
    check(threw);
    if (!ops.struck()) {
      EXPECT_FALSE(threw);
      return at;
    }
  }
  ADD_FAILURE() << "no end of calls";
  return 0;
}

class AtomicWriteFaults : public testing::TestWithParam<std::tuple<Fault, bool>> {};

TEST_P(AtomicWriteFaults, LeaveTheOldFileOrTheNewOneWhole) {
  const auto [fault, forever] = GetParam();
  const TempFolder folder;
  write_sealed_safetensors(folder / "old", version(1));
  write_sealed_safetensors(folder / "new", version(2));
  const std::string before = get(folder / "old"), after = get(folder / "new");
  std::filesystem::remove(folder / "new");

  const bool is_harmless = fault == Fault::half || fault == Fault::interrupted;
  int kept = 0;
  const int calls = strike_each_call(
      fault, forever,
      [&] {
        put(folder / "old", before);
        write_sealed_safetensors(folder / "old", version(2));
      },
      [&](bool threw) {
        const std::string found = get(folder / "old");
        EXPECT_TRUE(found == before || found == after);
        EXPECT_TRUE(threw || found == after) << "success means the new file";
        EXPECT_FALSE(threw && is_harmless);
        EXPECT_THAT(folder.files(), ElementsAre("old")) << "no temporary file";
        kept += found == before;
      });
  EXPECT_GE(calls, 10);
  // Of the calls of a write, the flush of the folder and what follows it alone come after the replacement.
  EXPECT_GE(kept, is_harmless ? 0 : fault == Fault::nothing_written ? 3 : 7);
  EXPECT_TRUE(!is_harmless || kept == 0);
}

TEST_P(AtomicWriteFaults, LeaveNothingWhereNothingWas) {
  const auto [fault, forever] = GetParam();
  const TempFolder folder;
  strike_each_call(
      fault, forever,
      [&] {
        std::filesystem::remove(folder / "f");
        write_file_atomically(folder / "f", "twelve bytes");
      },
      [&](bool threw) {
        const auto files = folder.files();
        if (files.empty()) {
          EXPECT_TRUE(threw);
        } else {
          EXPECT_THAT(files, ElementsAre("f"));
          EXPECT_EQ(get(folder / "f"), "twelve bytes");
        }
      });
}

TEST_P(AtomicWriteFaults, OfReadersAreErrorsOrHarmless) {
  const auto [fault, forever] = GetParam();
  const TempFolder folder;
  write_sealed_safetensors(folder / "f", version(1));
  const std::string bytes = get(folder / "f");
  const bool is_harmless = fault != Fault::no_space && fault != Fault::io_error;
  strike_each_call(
      fault, forever, [&] { EXPECT_EQ(read_file(folder / "f", 10'000), bytes); },
      [&](bool threw) { EXPECT_FALSE(threw && is_harmless); });
  strike_each_call(
      fault, forever, [&] { EXPECT_EQ(open_sealed_safetensors(folder / "f").tensors().size(), 3u); },
      [&](bool threw) { EXPECT_FALSE(threw && is_harmless); });
}

// Interruptions without end are left out: every call would rightly be tried again for ever.
INSTANTIATE_TEST_SUITE_P(
    All, AtomicWriteFaults,
    testing::Values(std::tuple(Fault::no_space, false), std::tuple(Fault::no_space, true),
                    std::tuple(Fault::io_error, false), std::tuple(Fault::io_error, true),
                    std::tuple(Fault::interrupted, false), std::tuple(Fault::half, false),
                    std::tuple(Fault::half, true), std::tuple(Fault::nothing_written, false),
                    std::tuple(Fault::nothing_written, true)));

TEST(AtomicWrite, CallsComeInTheOrderThatSurvivesAPowerLoss) {
  const TempFolder folder;
  FaultyOps ops(Fault::io_error, kNever, false);
  {
    const io::FileOpsOverride scope(ops);
    write_file_atomically(folder / "f", "x");
  }
  // The folder and the temporary file; then content before name, and the name before the return.
  EXPECT_THAT(ops.log(), ElementsAre("open", "open", "write", "sync", "close", "rename", "sync", "close"));
}

TEST(AtomicWrite, FoldersThatCannotBeFlushedAreTaken) {
  struct NoFolderSync final : io::FileOps {
    int sync(int fd) override {
      struct stat status{};
      if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) return errno = EINVAL, -1;
      return FileOps::sync(fd);
    }
  } ops;
  const TempFolder folder;
  const io::FileOpsOverride scope(ops);
  write_file_atomically(folder / "f", "x");
  EXPECT_EQ(get(folder / "f"), "x");
}

TEST(AtomicWrite, MessagesNameThePathAndTheReason) {
  const TempFolder folder;
  EXPECT_THAT(error_of<IoError>([&] { write_file_atomically(folder / "none/f", "x"); }),
              testing::AllOf(HasSubstr("[write]"), HasSubstr("/none'"), HasSubstr("No such file")));
  EXPECT_THAT(error_of<IoError>([&] { write_file_atomically(folder / "f/", "x"); }),
              HasSubstr("names no file"));
  EXPECT_THAT(error_of<IoError>([&] { write_file_atomically("", "x"); }), HasSubstr("names no file"));
  std::filesystem::create_directory(folder / "d");
  EXPECT_THAT(error_of<IoError>([&] { write_file_atomically(folder / "d", "x"); }),
              HasSubstr("Is a directory"));
  EXPECT_THAT(folder.files(), ElementsAre("d"));
}

TEST(AtomicWrite, PathsWithoutAFolderAreInTheCurrentOne) {
  const TempFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomically("f", "x");
  std::filesystem::current_path(before);
  EXPECT_THAT(folder.files(), ElementsAre("f"));
}

TEST(AtomicWrite, AFileSizeLimitOfTheProcessIsAnError) {
  const TempFolder folder;
  put(folder / "f", "old");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit{1000, 1000};
    std::signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    try {
      write_file_atomically(folder / "f", std::string(5000, 'n'));
    } catch (const IoError&) {
      _exit(0);
    }
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(get(folder / "f"), "old");
  EXPECT_THAT(folder.files(), ElementsAre("f"));
}

// A pipe or a device is a place to write to, not a content to replace: renaming a file over it would
// destroy it.
TEST(AtomicWrite, WritesIntoPipesAndDevicesAndRefusesFolders) {
  const TempFolder folder;
  const std::filesystem::path pipe = folder / "pipe", link = folder / "link";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink("pipe", link);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  for (const auto& target : {pipe, link}) {
    write_file_atomically(target, "through");
    std::array<char, 16> bytes{};
    EXPECT_EQ(read(reader, bytes.data(), bytes.size()), 7);
    EXPECT_TRUE(std::filesystem::is_fifo(target));
  }
  close(reader);
  write_file_atomically("/dev/null", "gone");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_THAT(error_of<IoError>([] { write_file_atomically("/dev/full", "too much"); }),
              HasSubstr("/dev/full"));
  std::filesystem::create_directory(folder / "sub");
  EXPECT_THAT(error_of<IoError>([&] { write_file_atomically(folder / "sub", "x"); }),
              HasSubstr("Is a directory"));
}

// The question that comes before a long run.
TEST(AtomicWrite, SaysBeforehandWhetherItCould) {
  const TempFolder folder;
  require_writable(folder / "new");
  put(folder / "old", "old");
  require_writable(folder / "old");
  require_writable("/dev/null");
  EXPECT_EQ(get(folder / "old"), "old");
  EXPECT_THAT(folder.files(), ElementsAre("old"));
  EXPECT_THROW(require_writable(folder.path()), IoError);
  EXPECT_THROW(require_writable(folder / "none" / "f"), IoError);
  EXPECT_THROW(require_writable(folder / "old" / "f"), IoError);
  EXPECT_THROW(require_writable(""), IoError);
}

TEST(ReadFile, ReadsAndRefuses) {
  const TempFolder folder;
  put(folder / "f", std::string("a\0b", 3));
  EXPECT_EQ(read_file(folder / "f", 3), std::string("a\0b", 3));
  EXPECT_THAT(error_of<IoError>([&] { read_file(folder / "f", 2); }),
              HasSubstr("holds 3 bytes; the limit is 2"));
  put(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty", 0), "");
  EXPECT_THAT(error_of<IoError>([&] { read_file(folder.path(), 10); }), HasSubstr("a folder"));
  EXPECT_THAT(error_of<IoError>([&] { read_file(folder / "none", 10); }), HasSubstr("No such file"));
}

TEST(ReadFile, FilesThatGrowWhileReadAreHeldToTheLimit) {
  // The kernel's own files state a size of 0.
  if (!std::filesystem::exists("/proc/self/status")) GTEST_SKIP() << "no /proc";
  EXPECT_THAT(read_file("/proc/self/status", 100'000), HasSubstr("Name:"));
  EXPECT_THAT(error_of<IoError>([&] { read_file("/proc/self/status", 10); }), HasSubstr("limit of 10 bytes"));
}

}  // namespace
}  // namespace veloxquant::test
