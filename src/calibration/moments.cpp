#include <algorithm>
#include <utility>
#include <veloxquant/calibration/moments.hpp>
#include <veloxquant/core/error.hpp>

#include "linalg/gram.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kBlock = 1024;

}  // namespace

Moments::Moments(int dim)
    : dim_(dim),
      mean_(static_cast<std::size_t>(dim)),
      scatter_(static_cast<std::size_t>(dim) * static_cast<std::size_t>(dim)) {}

Moments::Moments(double count, std::vector<double> mean, std::vector<double> scatter)
    : dim_(static_cast<int>(mean.size())),
      count_(count),
      mean_(std::move(mean)),
      scatter_(std::move(scatter)) {
  if (scatter_.size() != mean_.size() * mean_.size())
    throw ShapeError("moments", "the scatter is not of the mean's length squared");
}

void Moments::add(const float* rows, std::size_t count) {
  const auto width = static_cast<std::size_t>(dim_);
  std::vector<float> centred;
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t block = std::min(kBlock, count - begin);
    const float* from = rows + begin * width;
    Moments part(dim_);
    part.count_ = static_cast<double>(block);
    for (std::size_t i = 0; i < block * width; ++i) part.mean_[i % width] += static_cast<double>(from[i]);
    for (double& mean : part.mean_) mean /= part.count_;
    centred.resize(block * width);
    for (std::size_t i = 0; i < block * width; ++i) {
      centred[i] = static_cast<float>(static_cast<double>(from[i]) - part.mean_[i % width]);
    }
    add_gram(centred.data(), block, dim_, part.scatter_.data());
    merge(part);
  }
}

void Moments::merge(const Moments& other) {
  if (other.dim_ != dim_) throw ShapeError("merge moments", "the vectors differ in length");
  if (other.count_ == 0) return;
  const auto width = static_cast<std::size_t>(dim_);
  const double total = count_ + other.count_, between = count_ * other.count_ / total;
  std::vector<double> shift(width);
  for (std::size_t i = 0; i < width; ++i) shift[i] = other.mean_[i] - mean_[i];
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      scatter_[i * width + j] += other.scatter_[i * width + j] + between * shift[i] * shift[j];
    }
  }
  for (std::size_t i = 0; i < width; ++i) mean_[i] += shift[i] * other.count_ / total;
  count_ = total;
}

std::vector<double> Moments::covariance() const {
  if (count_ == 0) throw NumericError("covariance", "no vectors were given");
  std::vector<double> result = scatter_;
  for (double& value : result) value /= count_;
  return result;
}

}  // namespace veloxquant
