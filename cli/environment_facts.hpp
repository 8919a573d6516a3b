// What a report says about the machine that it was measured on.
#pragma once

#include <nlohmann/json.hpp>

namespace veloxquant::cli {

// Flat; docs/benchmark-schema.md names the keys.
nlohmann::ordered_json environment_facts(int threads);

}  // namespace veloxquant::cli
