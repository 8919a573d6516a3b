#include "transform/rope_turn.hpp"

#include <cmath>
#include <complex>

namespace veloxquant {
namespace {

using Complex = std::complex<double>;

// The average of exp(i t angle) over t = 0 .. frame - 1 (a geometric sum).
Complex average_phase(double angle, std::int64_t frame) {
  const double half = angle / 2, sine = std::sin(half), count = static_cast<double>(frame);
  if (std::fabs(sine) < 1e-14) return 1;
  return std::polar(std::sin(count * half) / (count * sine), (count - 1) * half);
}

}  // namespace

RopeTurn::RopeTurn(const RopeConfig& rope, int head_dim) : head_dim_(head_dim) {
  const std::vector<float> frequencies = rope.inverse_frequencies();
  const int half = rope.rotary_dim / 2;
  const bool split = rope.pairing == RopeConfig::Pairing::half_split;
  for (int i = 0; i < half; ++i) {
    const float frequency = frequencies[static_cast<std::size_t>(i)];
    pairs_.push_back(split ? Pair{i, i + half, frequency} : Pair{2 * i, 2 * i + 1, frequency});
  }
  if (split) split_ = pairs_.size();
  for (int c = rope.rotary_dim; c < head_dim; c += 2) pairs_.push_back({c, c + 1, 0.0f});
}

TurnAngles RopeTurn::angles(std::int64_t position) const {
  TurnAngles result;
  for (const Pair& pair : pairs_) {
    const auto angle = static_cast<double>(position) * static_cast<double>(pair.frequency);
    result.cosines.push_back(static_cast<float>(std::cos(angle)));
    result.sines.push_back(static_cast<float>(std::sin(angle)));
  }
  return result;
}

namespace {

// (a, b) turned by an angle with this sine. Split pairs stand side by side, which compilers turn into vectors.
template <class Pairs>
void turn_pairs(const Pairs& pairs, std::size_t split, const float* cosines, const float* sines, float sign,
                const float* x, float* out) noexcept {
  for (std::size_t i = 0; i < split; ++i) {
    const float a = x[i], b = x[i + split], sine = sign * sines[i];
    out[i] = a * cosines[i] - b * sine;
    out[i + split] = b * cosines[i] + a * sine;
  }
  for (std::size_t i = split; i < pairs.size(); ++i) {
    const float a = x[pairs[i].first], b = x[pairs[i].second], sine = sign * sines[i];
    out[pairs[i].first] = a * cosines[i] - b * sine;
    out[pairs[i].second] = b * cosines[i] + a * sine;
  }
}

}  // namespace

void RopeTurn::forwards(const TurnAngles& angles, const float* x, float* out) const noexcept {
  turn_pairs(pairs_, split_, angles.cosines.data(), angles.sines.data(), 1, x, out);
}

void RopeTurn::back(const TurnAngles& angles, const float* x, float* out) const noexcept {
  turn_pairs(pairs_, split_, angles.cosines.data(), angles.sines.data(), -1, x, out);
}

void RopeTurn::advance(TurnAngles& angles, const TurnAngles& step) noexcept {
  for (std::size_t i = 0; i < angles.cosines.size(); ++i) {
    const float cosine = angles.cosines[i], sine = angles.sines[i];
    angles.cosines[i] = cosine * step.cosines[i] - sine * step.sines[i];
    angles.sines[i] = sine * step.cosines[i] + cosine * step.sines[i];
  }
}

// With a pair as a complex number, a 2x2 block B maps z to u z + v conj(z); turning it from both sides
// multiplies u by the phase of the difference of the angles and v by that of their sum.
std::vector<double> RopeTurn::average(std::span<const double> a, std::int64_t frame) const {
  std::vector<double> result(a.size());
  const auto at = [this](int row, int column) {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(head_dim_) +
           static_cast<std::size_t>(column);
  };
  for (const Pair& f : pairs_) {
    for (const Pair& g : pairs_) {
      const double b11 = a[at(f.first, g.first)], b12 = a[at(f.first, g.second)];
      const double b21 = a[at(f.second, g.first)], b22 = a[at(f.second, g.second)];
      const double of_f = static_cast<double>(f.frequency), of_g = static_cast<double>(g.frequency);
      const Complex u = 0.5 * Complex(b11 + b22, b21 - b12) * average_phase(of_f - of_g, frame);
      const Complex v = 0.5 * Complex(b11 - b22, b21 + b12) * average_phase(of_f + of_g, frame);
      result[at(f.first, g.first)] = u.real() + v.real();
      result[at(f.second, g.second)] = u.real() - v.real();
      result[at(f.second, g.first)] = u.imag() + v.imag();
      result[at(f.first, g.second)] = v.imag() - u.imag();
    }
  }
  return result;
}

}  // namespace veloxquant
