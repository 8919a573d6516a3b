#include "environment_facts.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <veloxquant/attention/arithmetic.hpp>

#include "machine_facts.hpp"

namespace veloxquant::cli {

nlohmann::ordered_json environment_facts(int threads) {
  const MachineFacts machine = machine_facts();
  return {{"cpu", machine.cpu},
          {"cpu_level", machine.level},
          {"attention", to_string(attention_arithmetic())},
          {"processors", machine.processors},
          {"threads", threads},
          {"memory_bytes", machine.memory_bytes},
          {"kernel", machine.kernel},
          {"huge_pages", machine.huge_pages},
          {"compiler", machine.compiler},
          {"version", machine.version},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

}  // namespace veloxquant::cli
