#include <veloxquant/core/version.hpp>

namespace veloxquant {

const char* version() noexcept { return VELOXQUANT_VERSION; }

}  // namespace veloxquant
