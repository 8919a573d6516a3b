#include "benchmark_meter.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/eval/memory_meter.hpp>

#include "artifacts.hpp"

namespace veloxquant::cli {
namespace {

using Json = nlohmann::json;

constexpr const char* kSubcommand = "benchmark-meter";
constexpr std::int64_t kDecodeTokens = 16;

// A file in memory: unlike a pipe it cannot fill up, nor break when the other side ends early.
class MemoryFile {
 public:
  explicit MemoryFile(const std::vector<std::uint8_t>& content = {})
      : descriptor_(memfd_create("veloxquant-meter", MFD_CLOEXEC)) {
    if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "memfd_create");
    for (std::size_t done = 0; done < content.size();) {
      const ssize_t written = write(descriptor_, content.data() + done, content.size() - done);
      if (written < 0) {
        close(descriptor_);
        throw std::system_error(errno, std::generic_category(), "write");
      }
      done += static_cast<std::size_t>(written);
    }
    lseek(descriptor_, 0, SEEK_SET);
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const { return descriptor_; }
  std::string content() const {
    std::string text;
    char buffer[4096];
    lseek(descriptor_, 0, SEEK_SET);
    for (ssize_t count = 0; (count = read(descriptor_, buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(count));
    }
    return text;
  }

 private:
  int descriptor_;
};

// Runs this executable with the three standard streams given; returns its wait status.
int run_self(const MemoryFile& in, const MemoryFile& out, const MemoryFile& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.descriptor(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.descriptor(), STDERR_FILENO);
  // Not the path behind it, which may have been replaced by a newer build meanwhile.
  std::string program = "/proc/self/exe", subcommand = kSubcommand;
  char* const arguments[] = {program.data(), subcommand.data(), nullptr};
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), program);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  return status;
}

Json to_json(const MeterRequest& r) {
  return {{"model", r.model},
          {"keys", r.method.keys.to_string()},
          {"values", r.method.values.to_string()},
          {"ids", r.ids},
          {"sinks", r.sinks},
          {"recent", r.recent},
          {"chunk", r.chunk},
          {"threads", r.threads},
          {"arithmetic", r.arithmetic},
          {"artifacts", r.artifacts}};
}

MeterRequest request_from(const Json& json) {
  MeterRequest r;
  r.model = json.at("model");
  r.method = {MethodSpec::parse(json.at("keys")), MethodSpec::parse(json.at("values"))};
  r.ids = json.at("ids").get<TokenIds>();
  r.sinks = json.at("sinks");
  r.recent = json.at("recent");
  r.chunk = json.at("chunk");
  r.threads = json.at("threads");
  r.arithmetic = json.at("arithmetic");
  r.artifacts = json.at("artifacts");
  return r;
}

// In the process of its own: the caches are filled before the model's memory comes.
int meter() {
  Json json;
  try {
    json = Json::from_cbor(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    request_from(json);
  } catch (const Json::exception& e) {
    fmt::print(stderr, "{} is started by `veloxquant benchmark`: {}\n", kSubcommand, e.what());
    return kUsage;
  }
  const MeterRequest r = request_from(json);
  disable_huge_pages();
  const auto artifacts = read_artifacts(r.artifacts);
  const KVCacheConfig config = cache_config(ModelConfig::load(r.model), r.method, r.sinks, r.recent);
  MemoryFigures figures;
  std::tie(figures.resident_bytes, figures.resident_measured) = measure_filled_caches(
      config, std::ssize(r.ids), r.chunk, std::make_shared<ThreadPool>(r.threads), artifacts);
  Decoder decoder =
      Decoder::load(r.model, {.arithmetic = arithmetic_from(r.arithmetic), .threads = r.threads});
  figures.peak_bytes = measure_peak(decoder, config, r.ids, r.chunk, kDecodeTokens, artifacts);
  fmt::print("{}\n", Json{{"resident_bytes", figures.resident_bytes},
                          {"resident_measured", figures.resident_measured},
                          {"peak_bytes", figures.peak_bytes}}
                         .dump());
  return kDone;
}

}  // namespace

MemoryFigures measure_memory(const MeterRequest& request) {
  std::string reason;
  try {
    const MemoryFile in(Json::to_cbor(to_json(request))), out, err;
    const int status = run_self(in, out, err);
    if (WIFEXITED(status) && WEXITSTATUS(status) == kDone) {
      const Json json = Json::parse(out.content());
      return {json.at("resident_bytes"), json.at("resident_measured"), json.at("peak_bytes")};
    }
    reason =
        WIFSIGNALED(status) ? fmt::format("the process ended by signal {}", WTERMSIG(status)) : err.content();
  } catch (const std::system_error& e) {
    reason = e.what();
  } catch (const Json::exception& e) {
    reason = e.what();
  }
  while (reason.ends_with('\n')) reason.pop_back();
  throw UnsupportedError("measure memory", reason);
}

void add_benchmark_meter(Commands& commands) { commands.add(kSubcommand, "", meter)->group(""); }

}  // namespace veloxquant::cli
