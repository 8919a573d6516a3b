#include "codebook/trellis_search.hpp"

namespace veloxquant::trellis {
const std::array<TrellisTable, 4> kTables = {};
}  // namespace veloxquant::trellis
