#include <dlpack/dlpack.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/tensor.hpp>

#include "core/input.hpp"
#include "cpu_levels.hpp"

namespace veloxquant {
namespace {

Tensor counting(Shape shape) {
  Tensor t = Tensor::empty(std::move(shape), DType::f32);
  std::iota(t.data<float>(), t.data<float>() + t.numel(), 0.0f);
  return t;
}

template <class E, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "no error of the expected type";
  return {};
}

TEST(Tensor, OwnsAlignedMemory) {
  const Tensor t = Tensor::zeros({3, 5}, DType::bf16);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.raw()) % 64, 0u);
  EXPECT_EQ(t.nbytes(), 30u);
  EXPECT_EQ(t.dim(-1), 5);
}

TEST(Tensor, SliceAndCopyFollowStrides) {
  const Tensor t = counting({2, 3, 4});
  const Tensor s = t.slice(1, 1, 3).slice(2, 0, 2);
  EXPECT_FALSE(s.is_contiguous());
  const Tensor c = s.contiguous();
  const std::vector<float> got(c.data<float>(), c.data<float>() + c.numel());
  EXPECT_EQ(got, (std::vector<float>{4, 5, 8, 9, 16, 17, 20, 21}));
}

TEST(Tensor, TransposedStridesCopyElementByElement) {
  Tensor t = counting({2, 3});
  const Tensor transposed = Tensor::wrap(t.raw(), {3, 2}, DType::f32, {1, 3});
  const Tensor c = transposed.copy();
  EXPECT_EQ(std::vector<float>(c.data<float>(), c.data<float>() + 6), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(Tensor, ConvertsAmongFloatingTypesOnly) {
  const Tensor t = counting({4});
  for (const DType d : {DType::f16, DType::bf16, DType::f64}) {
    const Tensor back = t.to(d).to(DType::f32);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(back.data<float>()[i], static_cast<float>(i));
  }
  EXPECT_THROW(t.to(DType::i32), DTypeError);
}

TEST(Tensor, RefusesByTypeAndNamesTheValue) {
  EXPECT_NE(message_of<ShapeError>([] { Tensor::empty({2, -1}, DType::f32); }).find("-1"), std::string::npos);
  EXPECT_THROW(Tensor::empty({std::int64_t{1} << 40, std::int64_t{1} << 40}, DType::f32), ShapeError);
  const Tensor t = counting({2, 3});
  EXPECT_THROW(t.data<double>(), DTypeError);
  EXPECT_THROW(t.reshape({5}), ShapeError);
  EXPECT_THROW(t.slice(0, 1, 3), ShapeError);
  EXPECT_THROW(t.dim(2), ShapeError);
}

TEST(Tensor, EmptyAxesAreServed) {
  const Tensor t = Tensor::empty({2, 0, 4}, DType::f16);
  EXPECT_EQ(t.numel(), 0);
  EXPECT_EQ(t.copy().shape(), t.shape());
  EXPECT_EQ(t.to(DType::f32).numel(), 0);
}

TEST(Tensor, DlpackRoundTripKeepsMemoryAlive) {
  DLManagedTensor* exported = nullptr;
  void* memory = nullptr;
  {
    const Tensor t = counting({2, 6}).slice(1, 0, 4);
    memory = t.raw();
    exported = t.to_dlpack();
  }
  EXPECT_EQ(exported->dl_tensor.strides[0], 6);
  const Tensor back = Tensor::from_dlpack(exported);
  EXPECT_EQ(back.raw(), memory);
  EXPECT_EQ(back.shape(), (Shape{2, 4}));
  EXPECT_EQ(back.copy().data<float>()[4], 6.0f);
}

TEST(Tensor, DlpackRunsTheForeignDeleterOnce) {
  static int deleted;
  deleted = 0;
  std::int64_t shape[] = {3};
  float data[] = {1, 2, 3};
  DLManagedTensor managed{};
  managed.dl_tensor = {data, {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, shape, nullptr, 0};
  managed.deleter = [](DLManagedTensor*) { ++deleted; };
  {
    const Tensor t = Tensor::from_dlpack(&managed);
    const Tensor view = t.slice(0, 1, 3);
    EXPECT_EQ(view.data<float>()[0], 2.0f);
  }
  EXPECT_EQ(deleted, 1);
  managed.dl_tensor.dtype.lanes = 4;
  EXPECT_THROW(Tensor::from_dlpack(&managed), DTypeError);
  managed.dl_tensor.dtype.lanes = 1;
  managed.dl_tensor.device.device_type = kDLCUDA;
  EXPECT_THROW(Tensor::from_dlpack(&managed), UnsupportedError);
  EXPECT_EQ(deleted, 1);  // refused tensors stay the caller's
}

TEST(Input, NoLevelOverlooksWhatIsNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  test::on_every_cpu_level([](const std::string& level) {
    Tensor x = Tensor::zeros({1, 1, 5, 18}, DType::f32);
    for (float& value : x.span<float>()) value = -std::numeric_limits<float>::max();
    EXPECT_NO_THROW(checked_vectors(x, 18, "append")) << level;
    for (float& value : x.span<float>()) {
      for (const float wrong : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
                                -std::numeric_limits<float>::signaling_NaN()}) {
        const float before = value;
        value = wrong;
        EXPECT_THROW(checked_vectors(x, 18, "append"), NumericError) << level << " " << wrong;
        value = before;
      }
    }
  });
}

TEST(Input, NamesThePositionOfNan) {
  Tensor x = counting({2, 3, 4, 8});
  x.data<float>()[((1 * 3 + 2) * 4 + 3) * 8 + 5] = std::numeric_limits<float>::quiet_NaN();
  const std::string message = message_of<NumericError>([&] { checked_vectors(x, 8, "append"); });
  EXPECT_NE(message.find("[append]"), std::string::npos);
  EXPECT_NE(message.find("[1, 2, 3, 5]"), std::string::npos);
  EXPECT_THROW(checked_vectors(x, 16, "append"), ShapeError);
  EXPECT_THROW(checked_vectors(x.reshape({6, 4, 8}), 8, "append"), ShapeError);
  EXPECT_THROW(checked_vectors(Tensor::zeros({1, 1, 1, 8}, DType::i8), 8, "append"), DTypeError);
  EXPECT_THROW(checked_vectors(Tensor(), 8, "append"), ShapeError);
}

}  // namespace
}  // namespace veloxquant
