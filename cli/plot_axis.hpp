// From values to places along one side of a plot.
#pragma once

#include <string>
#include <vector>

namespace veloxquant::cli {

class Axis {
 public:
  // From the least to the largest value shown, at the places `from` and `to`, with a margin beyond both.
  Axis(bool logarithmic, double low, double high, double from, double to);
  double place(double value) const;
  // Round numbers within the axis, at least two: its ends where there are no others.
  std::vector<double> ticks() const;

 private:
  std::vector<double> round_numbers() const;

  bool logarithmic_;
  double low_, high_, from_, to_;  // low_ and high_ are logarithms to base 10 on a logarithmic axis
};

// "0.0002", "512", "16K", "1M", and below 0.00001 powers of ten.
std::string axis_number(double value);

}  // namespace veloxquant::cli
