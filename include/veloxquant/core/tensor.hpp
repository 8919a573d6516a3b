// Tensor: the currency in which vectors enter and leave the library.
//
// A tensor is a reference-counted, strided view of typed memory: a shape, strides in elements, an element type
// and a device. It owns 64-byte-aligned memory, or wraps foreign memory without a copy and keeps its owner
// alive. It is not an array library: it copies, casts, reshapes and slices, and does no arithmetic.
//
// Copying a Tensor copies the view, not the elements (both see the same memory); `copy()` copies elements.
// A default-constructed Tensor is undefined (`defined()` is false) and has no memory.
//
// DLPack (https://github.com/dmlc/dlpack, version 0.6) is the bridge to other frameworks, without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <veloxquant/core/half.hpp>

struct DLManagedTensor;  // <dlpack/dlpack.h>

namespace veloxquant {

enum class DType : std::uint8_t { f32, f16, bf16, fp8_e4m3, i8, u8, i16, u16, i32, u32, i64, u64, f64 };
enum class Device : std::uint8_t { cpu, cuda };

// Bytes of one element: 1, 2, 4 or 8.
std::size_t size_of(DType dtype) noexcept;
// "f32", "bf16", ... as in error messages; safetensors spells them in upper case.
const char* to_string(DType dtype) noexcept;

template <class T>
struct DTypeOf;  // DTypeOf<float>::value == DType::f32, and so on for the types above

using Shape = std::vector<std::int64_t>;
// "[2, 8, 4096, 128]"
std::string to_string(const Shape& shape);

class Tensor {
 public:
  Tensor() = default;

  // Uninitialized and zeroed owned memory. Throws ShapeError on a negative extent or a size beyond 2^62 bytes.
  static Tensor empty(Shape shape, DType dtype);
  static Tensor zeros(Shape shape, DType dtype);
  // A view of foreign memory. `strides` (in elements) defaults to row-major; `owner` is kept alive as long as
  // any view of it is.
  static Tensor wrap(void* data, Shape shape, DType dtype, Shape strides = {},
                     std::shared_ptr<const void> owner = {});
  // A copy of `values` in a new tensor; values.size() must equal the shape's element count.
  template <class T>
  static Tensor copy_of(std::span<const T> values, Shape shape);

  bool defined() const noexcept { return data_ != nullptr || owner_ != nullptr; }
  const Shape& shape() const noexcept { return shape_; }
  const Shape& strides() const noexcept { return strides_; }
  std::size_t rank() const noexcept { return shape_.size(); }
  // Extent of one axis; negative axes count from the end. Throws ShapeError when out of range.
  std::int64_t dim(int axis) const;
  std::int64_t numel() const noexcept;
  DType dtype() const noexcept { return dtype_; }
  Device device() const noexcept { return device_; }
  // Bytes of the elements (numel * size_of(dtype)).
  std::size_t nbytes() const noexcept;
  bool is_contiguous() const noexcept;

  // The first element. The typed form throws DTypeError when T is not the tensor's element type.
  void* raw() const noexcept { return data_; }
  template <class T>
  T* data() const;
  // All elements of a contiguous tensor; throws ShapeError when it is not contiguous.
  template <class T>
  std::span<T> span() const;

  Tensor copy() const;        // new, contiguous, owned
  Tensor contiguous() const;  // this tensor if it is contiguous already, else copy()
  // Element-wise conversion among the floating types (and identity for all); rounds to nearest even.
  Tensor to(DType dtype) const;
  // Same elements, another shape of equal count; the tensor must be contiguous.
  Tensor reshape(Shape shape) const;
  // A view of [begin, end) along one axis.
  Tensor slice(int axis, std::int64_t begin, std::int64_t end) const;

  // DLPack in: takes ownership of `managed` (its deleter runs when the last view goes). Throws DTypeError,
  // ShapeError or UnsupportedError (device) and leaves `managed` to the caller in that case.
  static Tensor from_dlpack(DLManagedTensor* managed);
  // DLPack out: the caller owns the result and must call its deleter.
  DLManagedTensor* to_dlpack() const;

 private:
  void require_dtype(DType wanted) const;
  void require_contiguous() const;

  std::shared_ptr<const void> owner_;
  void* data_ = nullptr;
  Shape shape_, strides_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
};

template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<fp8_e4m3> {
  static constexpr DType value = DType::fp8_e4m3;
};
template <>
struct DTypeOf<std::int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<std::int16_t> {
  static constexpr DType value = DType::i16;
};
template <>
struct DTypeOf<std::uint16_t> {
  static constexpr DType value = DType::u16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::uint32_t> {
  static constexpr DType value = DType::u32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<std::uint64_t> {
  static constexpr DType value = DType::u64;
};

template <class T>
T* Tensor::data() const {
  require_dtype(DTypeOf<std::remove_const_t<T>>::value);
  return static_cast<T*>(data_);
}

template <class T>
std::span<T> Tensor::span() const {
  require_contiguous();
  return {data<T>(), static_cast<std::size_t>(numel())};
}

template <class T>
Tensor Tensor::copy_of(std::span<const T> values, Shape shape) {
  return wrap(const_cast<T*>(values.data()), {static_cast<std::int64_t>(values.size())}, DTypeOf<T>::value)
      .copy()
      .reshape(std::move(shape));
}

}  // namespace veloxquant
