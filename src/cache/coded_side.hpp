// The coded keys and values of a layer as attention reads them: by KV head, the kernels of the code and the decoder for
// what they do not read. Made once for a layer's methods, as tables of kernels take longer to make than a decode step.
#pragma once

#include <memory>
#include <string>
#include <vector>
#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/cache/packed_kv_cache.hpp>

#include "attention/attend.hpp"
#include "attention/block_kernels.hpp"
#include "attention/turned_keys.hpp"
#include "transform/coded_basis.hpp"

namespace veloxquant {

class CodedSide {
 public:
  // With shorter frames a query would be turned more often than there are groups of tokens. Then blocks of keys are
  // brought to the space of the input, by turned() or decoded; the kernel is that of f32 rows there.
  static constexpr std::int64_t kShortestFrame = 16;

  CodedSide(const VectorQuantizer& method, Role role, int kv_heads, AttentionArithmetic arithmetic);

  TileDecoder decoder(int head) const { return of(head).decoder; }
  bool decodes_keys(int head) const {
    return of(head).basis != nullptr && method_->frame() > 0 && method_->frame() < kShortestFrame;
  }
  const CodeSpec* code_spec(int head) const { return method_->code_spec(head); }
  // Without functions where there is none.
  const KeyKernel& key_kernel(int head) const { return of(head).key; }
  const ValueKernel& value_kernel(int head) const { return of(head).value; }
  // Keys in short frames: what spares their blocks the decoding; null where nothing does.
  const TurnedKeys* turned(int head) const { return of(head).turned.get(); }
  // Of those, which are as large as bases; the tables of kernels are small.
  std::size_t nbytes() const;
  // How keys of a basis are multiplied by it, decoded or not.
  FrameProducts products(int head) const { return of(head).decoder.products; }
  // What kernels see: the codes' coordinates seen through a basis (decoded keys are then in the space of the
  // input, decoded values in that of the codes), or transformed and centred rows. Null when it is neither.
  const CodedBasis* basis(int head) const { return of(head).basis; }
  const RowTransform* transform(int head) const {
    return of(head).in_code_space ? method_->transform(head) : nullptr;
  }
  const float* centre(int head) const { return of(head).in_code_space ? method_->centre(head) : nullptr; }

 private:
  struct Head {
    bool in_code_space = false;  // decoded rows are those of the codes
    TileDecoder decoder;
    const CodedBasis* basis = nullptr;
    KeyKernel key;
    ValueKernel value;
    std::shared_ptr<const TurnedKeys> turned;
  };
  const Head& of(int head) const { return heads_[static_cast<std::size_t>(head)]; }

  const VectorQuantizer* method_;
  std::vector<Head> heads_;
};

struct LayerKernels {
  LayerKernels(const LayerMethods& methods, int kv_heads);
  // Whether they are what the settings in use ask for.
  bool current() const;

  AttentionArithmetic arithmetic;
  std::string level;
  CodedSide keys, values;
};

}  // namespace veloxquant
