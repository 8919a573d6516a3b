// What artifacts with a bit budget say of themselves, for people.
#pragma once

#include <nlohmann/json.hpp>
#include <veloxquant/core/artifact_store.hpp>

namespace veloxquant::cli {

// The forecast of KL at several budgets; nothing where there is none.
void print_forecast(const ArtifactStore& store);
// How the artifacts' own budget is spread over layers, KV heads, keys and values; nothing where there is
// none. Throws what budget_spread() throws.
void print_budget(const ArtifactStore& store);
// The same for programs; null and empty.
nlohmann::ordered_json budget_json(const ArtifactStore& store);
nlohmann::ordered_json forecast_json(const ArtifactStore& store);

}  // namespace veloxquant::cli
