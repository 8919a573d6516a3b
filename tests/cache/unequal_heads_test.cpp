// Methods that spend other bits on every KV head, as calibrated ones do.
#include <gtest/gtest.h>

#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

// Head h is coded by the `turboquant_mse` of 2 + 2 h bits.
class WidthsByHead final : public VectorQuantizer {
 public:
  explicit WidthsByHead(const QuantizerOptions& o) : head_dim_(o.head_dim) {
    for (const int bits : {2, 4}) {
      QuantizerOptions options = o;
      options.bits = bits;
      heads_.push_back(
          as_vector_quantizer(QuantizerFactory::create("turboquant_mse", options), o.role, o.head_dim));
    }
  }
  int head_dim() const noexcept override { return head_dim_; }
  std::size_t code_bytes(int head) const noexcept override { return at(head).code_bytes(0); }
  std::size_t scale_bytes(int head) const noexcept override { return at(head).scale_bytes(0); }
  using VectorQuantizer::code_spec;
  const CodeSpec* code_spec(int head) const override { return at(head).code_spec(); }
  const RowTransform* transform(int head) const noexcept override { return at(head).transform(0); }
  void encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    at(head).encode_rows(rows, count, 0, codes, scales);
  }
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                   float* rows) const override {
    at(head).decode_rows(codes, scales, count, 0, rows);
  }
  std::size_t method_bytes() const noexcept override { return 0; }

 private:
  const VectorQuantizer& at(int head) const noexcept { return *heads_[static_cast<std::size_t>(head % 2)]; }

  int head_dim_;
  std::vector<std::shared_ptr<const VectorQuantizer>> heads_;
};
VELOXQUANT_REGISTER_QUANTIZER("widths_by_head", WidthsByHead);

// What head `head` of a cache holds, attended to by itself, against a cache of that head alone.
TEST(UnequalHeads, EachHeadIsAsIfAlone) {
  constexpr int kTokens = 150;
  const Tensor keys = random_vectors({2, 2, kTokens, 64}, 1), values = random_vectors({2, 2, kTokens, 64}, 2);
  const Tensor queries = random_vectors({2, 4, 1, 64}, 3);
  PackedKVCache cache = make_cache({.keys = "widths_by_head", .values = "widths_by_head", .batch = 2});
  cache.append(keys, values);
  const auto [k, v] = cache.state();
  const Tensor out = cache.attend(queries);
  EXPECT_EQ(cache.coded_bytes(), 2u * kTokens * 2u * (16 + 2 + 32 + 2));
  for (int h = 0; h < 2; ++h) {
    const std::string method = h == 0 ? "turboquant_mse:2" : "turboquant_mse:4";
    PackedKVCache alone = make_cache({.keys = method, .values = method, .batch = 2, .kv_heads = 1});
    alone.append(keys.slice(1, h, h + 1).contiguous(), values.slice(1, h, h + 1).contiguous());
    const auto [alone_k, alone_v] = alone.state();
    EXPECT_TRUE(same_floats(k.slice(1, h, h + 1).contiguous(), alone_k));
    EXPECT_TRUE(same_floats(v.slice(1, h, h + 1).contiguous(), alone_v));
    const Tensor wanted = alone.attend(queries.slice(1, 2 * h, 2 * h + 2).contiguous());
    const Tensor have = out.slice(1, 2 * h, 2 * h + 2).contiguous();
    for (std::int64_t i = 0; i < wanted.numel(); ++i)
      EXPECT_NEAR(have.data<float>()[i], wanted.data<float>()[i], 2e-5);
  }
}

TEST(UnequalHeads, EncodeAndDecodeGoTogether) {
  const Tensor x = random_vectors({2, 2, 5, 64}, 4);
  QuantizerOptions options;
  options.head_dim = 64;
  const WidthsByHead method(options);
  const EncodedVector encoded = method.encode(x);
  EXPECT_EQ(encoded.indices.shape(), (Shape{2, 5 * (16 + 32)}));
  PackedKVCache cache = make_cache({.keys = "widths_by_head", .values = "widths_by_head", .batch = 2});
  EXPECT_TRUE(same_floats(method.decode(encoded), cache.update(x).first));
}

TEST(UnequalHeads, SavedAndLoaded) {
  const TemporaryFile file;
  const Tensor x = random_vectors({1, 2, 100, 64}, 5);
  PackedKVCache cache = make_cache({.keys = "widths_by_head", .values = "widths_by_head"});
  const Tensor state = cache.update(x).first;
  cache.save(file.path());
  PackedKVCache other = make_cache({.keys = "widths_by_head", .values = "widths_by_head"});
  other.load(file.path());
  EXPECT_TRUE(same_floats(other.state().first, state));
}

}  // namespace
}  // namespace veloxquant
