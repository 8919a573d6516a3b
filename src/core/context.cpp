#include <veloxquant/core/context.hpp>

namespace veloxquant {

std::size_t EncodedVector::nbytes() const noexcept {
  std::size_t bytes = indices.nbytes() + (scale ? scale->nbytes() : 0);
  for (const auto& [name, value] : metadata) {
    if (const auto* tensor = std::get_if<Tensor>(&value)) bytes += tensor->nbytes();
  }
  return bytes;
}

}  // namespace veloxquant
