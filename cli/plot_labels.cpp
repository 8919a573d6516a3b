#include "plot_labels.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace veloxquant::cli {

// Liang and Barsky: what is left of the segment when each side of the box has cut off its part.
bool meets(const Box& box, const Segment& s) {
  double from = 0, to = 1;
  const double dx = s.x1 - s.x0, dy = s.y1 - s.y0;
  const std::array<std::array<double, 2>, 4> sides = {
      {{-dx, s.x0 - box.left}, {dx, box.right - s.x0}, {-dy, s.y0 - box.top}, {dy, box.bottom - s.y0}}};
  for (const auto& [slope, room] : sides) {
    if (slope == 0) {
      if (room <= 0) return false;
    } else if (slope < 0) {
      from = std::max(from, room / slope);
    } else {
      to = std::min(to, room / slope);
    }
  }
  return from < to;
}

bool LabelRoom::is_free(const Box& box, bool on_lines) const {
  const bool inside = box.left >= frame_.left && box.right <= frame_.right && box.top >= frame_.top &&
                      box.bottom <= frame_.bottom;
  return inside && std::ranges::none_of(boxes_, [&](const Box& b) { return b.meets(box); }) &&
         (on_lines || std::ranges::none_of(segments_, [&](const Segment& s) { return meets(box, s); }));
}

std::optional<Box> LabelRoom::find(double x, double y, double width, double height) const {
  const auto around = [&](double centre_x, double centre_y) {
    return Box{centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2};
  };
  constexpr std::array<std::array<double, 2>, 8> kDirections = {
      {{1, 0}, {-1, 0}, {0, -1}, {0, 1}, {1, -1}, {1, 1}, {-1, -1}, {-1, 1}}};
  for (const bool on_lines : {false, true}) {
    for (double gap = 9; gap < 80; gap += 14) {
      for (const auto& [right, down] : kDirections) {
        const Box place = around(x + right * (gap + width / 2), y + down * (gap + height / 2));
        if (is_free(place, on_lines)) return place;
      }
    }
  }
  return std::nullopt;
}

}  // namespace veloxquant::cli
