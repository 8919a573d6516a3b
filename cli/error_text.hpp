// Messages of the library where the reader knows already what was done.
#pragma once

#include <string>

namespace veloxquant::cli {

// Such messages begin with "[operation] ", in words of the library's own.
inline std::string without_operation(const std::string& message) {
  const std::size_t end = message.find("] ");
  return message.starts_with('[') && end != std::string::npos ? message.substr(end + 2) : message;
}

}  // namespace veloxquant::cli
