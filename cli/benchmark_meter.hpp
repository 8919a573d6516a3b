// Memory of a method, measured by the command itself in a process of its own (`veloxquant benchmark-meter`,
// which --help does not list): the request in on stdin (CBOR, since paths may hold any bytes), JSON out on
// stdout.
#pragma once

#include <cstdint>
#include <string>
#include <veloxquant/eval/result.hpp>
#include <veloxquant/eval/windows.hpp>

#include "command.hpp"

namespace veloxquant::cli {

struct MeterRequest {
  std::string model;  // folder
  BenchmarkMethod method;
  TokenIds ids;  // a window
  std::int64_t sinks = 0, recent = 0, chunk = 512;
  int threads = 0;
  std::string arithmetic = "automatic";
  std::string artifacts{};  // file; may be empty
};

// Starts the process and waits for it. Throws UnsupportedError with the reason when it fails.
MemoryFigures measure_memory(const MeterRequest& request);

void add_benchmark_meter(Commands& commands);

}  // namespace veloxquant::cli
