#include "models/gemm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <vector>
#include <veloxquant/core/error.hpp>

// Of the OpenMP run-time library that oneDNN runs on (OpenMP 5.1, section 3.2). The number belongs to the
// calling thread, so that other users of OpenMP in the process see nothing of it.
extern "C" void omp_set_num_threads(int count);
extern "C" int omp_get_max_threads(void);

namespace veloxquant {
namespace {

using Extents = std::array<std::int64_t, 3>;  // m, n, k

// Primitives kept; the extents of a model are a dozen for each number of rows.
constexpr std::size_t kMaxPrimitives = 512;

class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

dnnl::memory::data_type element_type(DType arithmetic) {
  return arithmetic == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::matmul::primitive_desc describe(DType arithmetic, const Extents& extents, const dnnl::engine& engine) {
  using Memory = dnnl::memory;
  const auto [m, n, k] = extents;
  const Memory::desc a({m, k}, element_type(arithmetic), Memory::format_tag::ab);
  const Memory::desc b({k, n}, element_type(arithmetic), Memory::format_tag::ba);
  const Memory::desc c({m, n}, Memory::data_type::f32, Memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(
      dnnl::scratchpad_mode::user);  // one primitive runs on several threads at once
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes, engine);
}

}  // namespace

std::string gemm_implementation(DType arithmetic) {
  const OneOpenMpThread serial;
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return describe(arithmetic, {256, 256, 256}, engine).impl_info_str();
  } catch (const dnnl::error&) {
    return {};
  }
}

struct Gemm::State {
  struct Product {
    dnnl::matmul::primitive_desc description;
    dnnl::matmul primitive;
  };
  struct Worker {
    dnnl::stream stream;
    std::vector<std::byte> scratch;
  };

  State(DType type, int threads) : arithmetic(type), engine(dnnl::engine::kind::cpu, 0) {
    for (int i = 0; i < threads; ++i) workers.push_back({dnnl::stream(engine), {}});
  }

  // Cheap to copy: oneDNN's objects are references.
  Product product(const Extents& extents) {
    const std::scoped_lock lock(mutex);
    if (const auto found = products.find(extents); found != products.end()) return found->second;
    if (products.size() >= kMaxPrimitives) products.clear();
    const auto description = describe(arithmetic, extents, engine);
    return products.emplace(extents, Product{description, dnnl::matmul(description)}).first->second;
  }

  DType arithmetic;
  dnnl::engine engine;
  std::vector<Worker> workers;
  std::mutex mutex;
  std::map<Extents, Product> products;
};

Gemm::Gemm(DType arithmetic, int workers) try : state_(std::make_unique<State>(arithmetic, workers)) {
} catch (const dnnl::error& error) {
  throw UnsupportedError("load model", fmt::format("oneDNN has no engine on this CPU: {}", error.what()));
}
Gemm::~Gemm() = default;

void Gemm::multiply(const void* a, const void* b, float* c, std::int64_t m, std::int64_t n, std::int64_t k,
                    int worker) try {
  const OneOpenMpThread serial;
  const State::Product product = state_->product({m, n, k});
  State::Worker& mine = state_->workers[static_cast<std::size_t>(worker)];
  const dnnl::memory::desc scratch = product.description.scratchpad_desc();
  mine.scratch.resize(std::max(mine.scratch.size(), scratch.get_size()));
  // oneDNN's handles are not const-correct; it writes the result and the scratchpad only.
  const auto view = [&](const dnnl::memory::desc& description, const void* data) {
    return dnnl::memory(description, state_->engine, const_cast<void*>(data));
  };
  product.primitive.execute(mine.stream, {{DNNL_ARG_SRC, view(product.description.src_desc(), a)},
                                          {DNNL_ARG_WEIGHTS, view(product.description.weights_desc(), b)},
                                          {DNNL_ARG_DST, view(product.description.dst_desc(), c)},
                                          {DNNL_ARG_SCRATCHPAD, view(scratch, mine.scratch.data())}});
  mine.stream.wait();
} catch (const dnnl::error& error) {
  throw UnsupportedError("forward",
                         fmt::format("oneDNN refused a {} x {} x {} product: {}", m, n, k, error.what()));
}

}  // namespace veloxquant
