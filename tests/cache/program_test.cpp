// Random programs of calls on a cache, against a plain model of what it must contain.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "cache/page_pool.hpp"
#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

constexpr int kHeads = 2, kWidth = 32;

// A token of all heads: [kv_heads, head_dim] each, as it came in.
struct ModelToken {
  std::vector<float> keys, values;
  std::int64_t position;
  bool left_window = false;
};

// What the header promises, token by token.
struct Model {
  std::int64_t sinks, recent;
  std::vector<std::vector<ModelToken>> rows;

  void append(const Tensor& keys, const Tensor& values, const std::vector<std::int64_t>& lengths,
              const std::vector<std::int64_t>& positions) {
    for (std::size_t b = 0; b < rows.size(); ++b) {
      for (std::int64_t i = 0; i < lengths[b]; ++i) {
        ModelToken token;
        for (int h = 0; h < kHeads; ++h) {
          for (const auto& [to, from] : {std::pair{&token.keys, &keys}, std::pair{&token.values, &values}}) {
            const float* x = from->data<float>() +
                             ((static_cast<std::int64_t>(b) * kHeads + h) * from->dim(2) + i) * kWidth;
            to->insert(to->end(), x, x + kWidth);
          }
        }
        const std::int64_t next = rows[b].empty() ? 0 : rows[b].back().position + 1;
        token.position = positions.empty() ? next : positions[static_cast<std::size_t>(i)];
        rows[b].push_back(std::move(token));
      }
      for (std::size_t t = 0; t < rows[b].size(); ++t) {
        const auto index = static_cast<std::int64_t>(t), size = static_cast<std::int64_t>(rows[b].size());
        if (index >= sinks && index < size - recent) rows[b][t].left_window = true;
      }
    }
  }
  void trim(std::int64_t count) {
    for (auto& row : rows) row.resize(row.size() - static_cast<std::size_t>(count));
  }
  std::size_t shortest() const {
    return std::min_element(rows.begin(), rows.end(),
                            [](const auto& a, const auto& b) { return a.size() < b.size(); })
        ->size();
  }
};

std::vector<float> coded(const VectorQuantizer& method, const std::vector<float>& heads) {
  std::vector<float> out(heads.size());
  std::vector<std::uint8_t> codes(method.code_bytes(0)), scales(method.scale_bytes(0) + 1);
  for (int h = 0; h < kHeads; ++h) {
    method.encode_rows(heads.data() + h * kWidth, 1, h, codes.data(), scales.data());
    method.decode_rows(codes.data(), scales.data(), 1, h, out.data() + h * kWidth);
  }
  return out;
}

void expect_equal(const PackedKVCache& cache, const Model& model) {
  const auto [keys, values] = cache.state();
  for (std::size_t b = 0; b < model.rows.size(); ++b) {
    const auto& row = model.rows[b];
    RC_ASSERT(cache.size(static_cast<int>(b)) == static_cast<std::int64_t>(row.size()));
    for (std::size_t t = 0; t < row.size(); ++t) {
      RC_ASSERT(cache.position(static_cast<int>(b), static_cast<std::int64_t>(t)) == row[t].position);
      const std::vector<float> k =
          row[t].left_window ? coded(*cache.methods().keys, row[t].keys) : row[t].keys;
      const std::vector<float> v =
          row[t].left_window ? coded(*cache.methods().values, row[t].values) : row[t].values;
      for (int h = 0; h < kHeads; ++h) {
        const std::int64_t at =
            ((static_cast<std::int64_t>(b) * kHeads + h) * keys.dim(2) + static_cast<std::int64_t>(t)) *
            kWidth;
        RC_ASSERT(std::equal(k.begin() + h * kWidth, k.begin() + (h + 1) * kWidth, keys.data<float>() + at));
        RC_ASSERT(
            std::equal(v.begin() + h * kWidth, v.begin() + (h + 1) * kWidth, values.data<float>() + at));
      }
    }
  }
}

std::unique_ptr<PackedKVCache> clone_of(const PackedKVCache& cache) {
  return std::unique_ptr<PackedKVCache>(static_cast<PackedKVCache*>(cache.clone().release()));
}

RC_GTEST_PROP(Program, EqualsTheModel, ()) {
  const std::size_t before = held_bytes();
  {
    const int batch = *rc::gen::inRange(1, 3);
    const CacheSetup setup{.keys = *rc::gen::element<std::string>("turboquant_mse:2", "q8_0", "fp16"),
                           .values = *rc::gen::element<std::string>("turboquant_mse:3", "affine:4:group=32"),
                           .batch = batch,
                           .kv_heads = kHeads,
                           .head_dim = kWidth,
                           .sinks = *rc::gen::element<std::int64_t>(0, 1, 4, 70),
                           .recent = *rc::gen::element<std::int64_t>(0, 1, 8, 100)};
    // Several caches: clones go on beside their originals.
    std::vector<std::pair<std::unique_ptr<PackedKVCache>, Model>> caches;
    caches.emplace_back(std::make_unique<PackedKVCache>(make_cache(setup)),
                        Model{setup.sinks, setup.recent,
                              std::vector<std::vector<ModelToken>>(static_cast<std::size_t>(batch))});
    const int steps = *rc::gen::inRange(1, 12);
    for (int step = 0; step < steps; ++step) {
      const std::size_t which = *rc::gen::inRange<std::size_t>(0, caches.size());
      switch (*rc::gen::inRange(0, 6)) {
        case 0:
        case 1:
        case 2: {
          const std::int64_t count = *rc::gen::element<std::int64_t>(1, 2, 7, 64, 100);
          const auto seed = *rc::gen::inRange<unsigned>(0, 1000);
          const Tensor k = random_vectors({batch, kHeads, count, kWidth}, seed),
                       v = random_vectors({batch, kHeads, count, kWidth}, seed + 1);
          auto& [cache, model] = caches[which];
          std::vector<std::int64_t> lengths, positions;
          for (int b = 0; b < batch; ++b) lengths.push_back(*rc::gen::inRange<std::int64_t>(0, count + 1));
          if (*rc::gen::arbitrary<bool>()) {
            std::int64_t position = 0;
            for (int b = 0; b < batch; ++b) {
              if (cache->size(b) > 0)
                position = std::max(position, cache->position(b, cache->size(b) - 1) + 1);
            }
            for (std::int64_t i = 0; i < count; ++i) positions.push_back(position += *rc::gen::inRange(1, 3));
          }
          cache->append_ragged(
              k, v, lengths,
              positions.empty() ? Tensor() : Tensor::copy_of<std::int64_t>(positions, {count}));
          model.append(k, v, lengths, positions);
          break;
        }
        case 3: {
          const auto count = *rc::gen::inRange<std::int64_t>(
              0, static_cast<std::int64_t>(caches[which].second.shortest()) + 1);
          caches[which].first->trim(count);
          caches[which].second.trim(count);
          break;
        }
        case 4: {
          Model model = caches[which].second;
          auto copy = clone_of(*caches[which].first);
          caches.emplace_back(std::move(copy), std::move(model));
          break;
        }
        case 5: {
          const TemporaryFile file;
          caches[which].first->save(file.path());
          auto loaded = std::make_unique<PackedKVCache>(make_cache(setup));
          loaded->load(file.path());
          RC_ASSERT(bytes_of(*loaded) == file.bytes());
          caches[which].first = std::move(loaded);
          break;
        }
      }
      expect_equal(*caches[which].first, caches[which].second);
    }
    for (const auto& [cache, model] : caches) expect_equal(*cache, model);
    // With one cache left no page is shared, and what it reports is what is held.
    caches.resize(1);
    RC_ASSERT(caches[0].first->nbytes() == held_bytes() - before);
  }
  RC_ASSERT(held_bytes() == before);
}

}  // namespace
}  // namespace veloxquant
