// The built-in methods, registered through the same door as a user's own.
#pragma once

namespace veloxquant {

void register_builtin_quantizers();

}  // namespace veloxquant
