// Timed samples on a machine that others use too.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace veloxquant::bench {

// Processor time that others (processes, and guests on the same host) took since construction.
class OthersMeter {
 public:
  OthersMeter();
  // Seconds of it per second of time. 0 where the system does not say.
  double share() const;

 private:
  double start_time_, start_others_;
};

class Stopwatch {
 public:
  Stopwatch();
  double seconds() const;

 private:
  double start_;
};

double median(std::vector<double> values);

// What was kept of a series of samples, each of them a few figures.
struct Samples {
  std::vector<std::vector<double>> figures;  // figures[f][i]: figure f of sample i
  int clean = 0;                             // of them taken while others used little of the machine
  int taken = 0;

  double median_of(std::size_t figure) const { return median(figures[figure]); }
};

// Takes samples until `wanted` are clean, at most three times as many. Keeps the clean ones; when there is
// none, all of them, and `clean` is 0.
Samples take_samples(int wanted, const std::function<std::vector<double>()>& sample);

}  // namespace veloxquant::bench
