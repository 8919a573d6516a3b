#include <veloxquant/core/tensor.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

constexpr std::align_val_t kAlignment{64};

std::int64_t element_count(const Shape& shape, std::size_t element_size) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0)
      throw ShapeError("tensor", fmt::format("extent {} of shape {} is negative", extent, to_string(shape)));
    // Axes of extent 0 are left out here, so that the strides of an empty tensor stay in range too.
    if (extent == 0) continue;
    if (count > (std::int64_t{1} << 62) / extent / static_cast<std::int64_t>(element_size)) {
      throw ShapeError("tensor", fmt::format("shape {} holds more than 2^62 bytes", to_string(shape)));
    }
    count *= extent;
  }
  return std::find(shape.begin(), shape.end(), 0) == shape.end() ? count : 0;
}

Shape row_major(const Shape& shape) {
  Shape strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= std::max<std::int64_t>(shape[i], 1);
  }
  return strides;
}

// Calls visit(offset) with the element offset of every innermost run (the last axis), in row-major order.
template <class Visit>
void for_each_row(const Tensor& t, Visit visit) {
  if (t.numel() == 0) return;
  if (t.rank() == 0) return visit(std::int64_t{0});
  Shape index(t.rank() - 1, 0);
  std::int64_t offset = 0;
  while (true) {
    visit(offset);
    std::size_t axis = index.size();
    while (axis-- > 0) {
      offset += t.strides()[axis];
      if (++index[axis] < t.shape()[axis]) break;
      offset -= t.strides()[axis] * t.shape()[axis];
      index[axis] = 0;
    }
    if (axis == static_cast<std::size_t>(-1)) return;
  }
}

template <class T>
T narrow(float x) {
  if constexpr (std::is_same_v<T, f16>)
    return to_f16(x);
  else if constexpr (std::is_same_v<T, bf16>)
    return to_bf16(x);
  else if constexpr (std::is_same_v<T, fp8_e4m3>)
    return to_fp8_e4m3(x);
  else
    return static_cast<T>(x);
}

template <class T>
float widen(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<float>(x);
  else
    return to_f32(x);
}

// visitor(T{}) for the floating type of `dtype`; false when it is not one.
template <class Visitor>
bool visit_float(DType dtype, Visitor visitor) {
  switch (dtype) {
    case DType::f32:
      visitor(float{});
      return true;
    case DType::f64:
      visitor(double{});
      return true;
    case DType::f16:
      visitor(f16{});
      return true;
    case DType::bf16:
      visitor(bf16{});
      return true;
    case DType::fp8_e4m3:
      visitor(fp8_e4m3{});
      return true;
    default:
      return false;
  }
}

}  // namespace

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::fp8_e4m3:
    case DType::i8:
    case DType::u8:
      return 1;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
    case DType::u16:
      return 2;
    case DType::f32:
    case DType::i32:
    case DType::u32:
      return 4;
    case DType::i64:
    case DType::u64:
    case DType::f64:
      return 8;
  }
  return 0;
}

const char* to_string(DType dtype) noexcept {
  static constexpr const char* kNames[] = {"f32", "f16", "bf16", "fp8_e4m3", "i8",  "u8", "i16",
                                           "u16", "i32", "u32",  "i64",      "u64", "f64"};
  return kNames[static_cast<std::size_t>(dtype)];
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Tensor Tensor::empty(Shape shape, DType dtype) {
  const std::size_t size = static_cast<std::size_t>(element_count(shape, size_of(dtype))) * size_of(dtype);
  void* memory = ::operator new(size, kAlignment);
  std::shared_ptr<const void> owner(
      memory, [](const void* p) { ::operator delete(const_cast<void*>(p), kAlignment); });
  return wrap(memory, std::move(shape), dtype, {}, std::move(owner));
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor t = empty(std::move(shape), dtype);
  std::memset(t.raw(), 0, t.nbytes());
  return t;
}

Tensor Tensor::wrap(void* data, Shape shape, DType dtype, Shape strides, std::shared_ptr<const void> owner) {
  element_count(shape, size_of(dtype));
  if (!strides.empty() && strides.size() != shape.size()) {
    throw ShapeError("tensor", fmt::format("{} strides for the rank-{} shape {}", strides.size(),
                                           shape.size(), to_string(shape)));
  }
  Tensor t;
  t.owner_ = std::move(owner);
  t.data_ = data;
  t.strides_ = strides.empty() ? row_major(shape) : std::move(strides);
  t.shape_ = std::move(shape);
  t.dtype_ = dtype;
  return t;
}

std::int64_t Tensor::dim(int axis) const {
  const int rank = static_cast<int>(shape_.size());
  if (axis < -rank || axis >= rank) {
    throw ShapeError("tensor", fmt::format("axis {} of the rank-{} shape {}", axis, rank, to_string(shape_)));
  }
  return shape_[static_cast<std::size_t>(axis < 0 ? axis + rank : axis)];
}

std::int64_t Tensor::numel() const noexcept {
  std::int64_t count = defined() || !shape_.empty() ? 1 : 0;
  for (const std::int64_t extent : shape_) count *= extent;
  return count;
}

std::size_t Tensor::nbytes() const noexcept { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

bool Tensor::is_contiguous() const noexcept {
  std::int64_t step = 1;
  for (std::size_t i = shape_.size(); i-- > 0;) {
    if (shape_[i] != 1 && strides_[i] != step) return numel() == 0;
    step *= shape_[i];
  }
  return true;
}

void Tensor::require_dtype(DType wanted) const {
  if (dtype_ != wanted) {
    throw DTypeError("tensor", fmt::format("elements are {}, asked for {}; convert with to()",
                                           to_string(dtype_), to_string(wanted)));
  }
}

void Tensor::require_contiguous() const {
  if (!is_contiguous()) throw ShapeError("tensor", "not contiguous; call contiguous() first");
}

Tensor Tensor::copy() const {
  Tensor result = empty(shape_, dtype_);
  const std::size_t width = size_of(dtype_);
  const std::int64_t run = rank() == 0 ? 1 : shape_.back();
  const std::int64_t step = rank() == 0 ? 1 : strides_.back();
  auto* out = static_cast<std::byte*>(result.raw());
  for_each_row(*this, [&](std::int64_t offset) {
    const auto* in = static_cast<const std::byte*>(data_) + offset * static_cast<std::int64_t>(width);
    if (step == 1) {
      std::memcpy(out, in, static_cast<std::size_t>(run) * width);
    } else {
      for (std::int64_t i = 0; i < run; ++i) {
        std::memcpy(out + static_cast<std::size_t>(i) * width,
                    in + i * step * static_cast<std::int64_t>(width), width);
      }
    }
    out += static_cast<std::size_t>(run) * width;
  });
  return result;
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : copy(); }

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  const Tensor source = contiguous();
  Tensor result = empty(shape_, dtype);
  const std::int64_t count = numel();
  bool served = false;
  visit_float(dtype_, [&](auto from) {
    using From = decltype(from);
    served = visit_float(dtype, [&](auto into) {
      using Into = decltype(into);
      const From* in = source.data<From>();
      Into* out = result.data<Into>();
      for (std::int64_t i = 0; i < count; ++i) {
        out[i] = narrow<Into>(widen(in[i]));
      }
    });
  });
  if (!served) {
    throw DTypeError("tensor",
                     fmt::format("no conversion from {} to {}; floating types convert among themselves",
                                 to_string(dtype_), to_string(dtype)));
  }
  return result;
}

Tensor Tensor::reshape(Shape shape) const {
  require_contiguous();
  if (element_count(shape, size_of(dtype_)) != numel()) {
    throw ShapeError("reshape",
                     fmt::format("{} elements do not fill the shape {}", numel(), to_string(shape)));
  }
  Tensor t = *this;
  t.strides_ = row_major(shape);
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::slice(int axis, std::int64_t begin, std::int64_t end) const {
  const std::int64_t extent = dim(axis);
  if (begin < 0 || end < begin || end > extent) {
    throw ShapeError("slice", fmt::format("[{}, {}) on axis {} of extent {}", begin, end, axis, extent));
  }
  Tensor t = *this;
  const auto i = static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(rank()) : axis);
  t.data_ = static_cast<std::byte*>(data_) + begin * strides_[i] * static_cast<std::int64_t>(size_of(dtype_));
  t.shape_[i] = end - begin;
  return t;
}

}  // namespace veloxquant
