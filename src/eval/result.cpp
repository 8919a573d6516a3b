#include <veloxquant/eval/result.hpp>

namespace veloxquant {

std::string BenchmarkMethod::name() const {
  const std::string k = keys.to_string(), v = values.to_string();
  return k == v ? k : k + "/" + v;
}

}  // namespace veloxquant
