// The version of the library.
#pragma once

namespace veloxquant {

// "0.1.0": major, minor, patch. Of the library that is linked, which may be newer than this header.
const char* version() noexcept;

}  // namespace veloxquant
