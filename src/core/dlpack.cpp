#include <dlpack/dlpack.h>
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/tensor.hpp>

namespace veloxquant {
namespace {

std::optional<DLDataType> dlpack_type(DType dtype) {
  const auto make = [&](DLDataTypeCode code) {
    return DLDataType{static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(8 * size_of(dtype)), 1};
  };
  switch (dtype) {
    case DType::f32:
    case DType::f16:
    case DType::f64:
      return make(kDLFloat);
    case DType::bf16:
      return make(kDLBfloat);
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
      return make(kDLInt);
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
      return make(kDLUInt);
    case DType::fp8_e4m3:
      return std::nullopt;  // DLPack 0.6 has no 8-bit floats
  }
  return std::nullopt;
}

DType dtype_of(DLDataType type) {
  for (int i = 0; i <= static_cast<int>(DType::f64); ++i) {
    const auto dtype = static_cast<DType>(i);
    const auto candidate = dlpack_type(dtype);
    if (candidate && candidate->code == type.code && candidate->bits == type.bits && type.lanes == 1)
      return dtype;
  }
  throw DTypeError("from_dlpack", fmt::format("element type code {} with {} bits and {} lanes is not served",
                                              type.code, type.bits, type.lanes));
}

// What an exported tensor keeps alive: the view with its shape and strides.
struct Exported {
  DLManagedTensor managed{};
  Tensor tensor;
  Shape shape, strides;
};

}  // namespace

Tensor Tensor::from_dlpack(DLManagedTensor* managed) {
  if (managed == nullptr) throw ConfigError("from_dlpack", "null pointer");
  const DLTensor& source = managed->dl_tensor;
  if (source.device.device_type != kDLCPU) {
    throw UnsupportedError("from_dlpack", fmt::format("device type {}; only CPU memory is served",
                                                      static_cast<int>(source.device.device_type)));
  }
  const DType dtype = dtype_of(source.dtype);
  if (source.ndim < 0) throw ShapeError("from_dlpack", fmt::format("rank {} is negative", source.ndim));
  Shape shape(source.shape, source.shape + source.ndim);
  Shape strides = source.strides == nullptr ? Shape{} : Shape(source.strides, source.strides + source.ndim);
  Tensor view = wrap(static_cast<std::byte*>(source.data) + source.byte_offset, std::move(shape), dtype,
                     std::move(strides));
  view.owner_ = std::shared_ptr<const void>(managed, [](const void* p) {
    auto* m = static_cast<DLManagedTensor*>(const_cast<void*>(p));
    if (m->deleter != nullptr) m->deleter(m);
  });
  return view;
}

DLManagedTensor* Tensor::to_dlpack() const {
  const auto type = dlpack_type(dtype_);
  if (!type)
    throw DTypeError("to_dlpack", fmt::format("{} has no DLPack 0.6 type; view it as u8", to_string(dtype_)));
  auto exported = std::make_unique<Exported>();
  exported->tensor = *this;
  exported->shape = shape_;
  exported->strides = strides_;
  DLTensor& out = exported->managed.dl_tensor;
  out.data = data_;
  out.device = {kDLCPU, 0};
  out.ndim = static_cast<std::int32_t>(shape_.size());
  out.dtype = *type;
  out.shape = exported->shape.data();
  out.strides = exported->strides.data();
  exported->managed.manager_ctx = exported.get();
  exported->managed.deleter = [](DLManagedTensor* self) { delete static_cast<Exported*>(self->manager_ctx); };
  return &exported.release()->managed;
}

}  // namespace veloxquant
