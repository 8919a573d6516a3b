// Finds room for the labels of a plot.
#pragma once

#include <optional>
#include <vector>

namespace veloxquant::cli {

struct Box {
  double left, top, right, bottom;
  bool meets(const Box& o) const {
    return left < o.right && o.left < right && top < o.bottom && o.top < bottom;
  }
};

struct Segment {
  double x0, y0, x1, y1;
};

bool meets(const Box& box, const Segment& segment);

// What is drawn already, within the frame of the plot.
class LabelRoom {
 public:
  explicit LabelRoom(const Box& frame) : frame_(frame) {}
  void take(const Box& box) { boxes_.push_back(box); }
  void take(const Segment& segment) { segments_.push_back(segment); }
  // A free place for a text of this size: right of the mark at (x, y), left of it, above, below, and then
  // farther away; on a line only when all else is taken, and nowhere when that is taken too.
  std::optional<Box> find(double x, double y, double width, double height) const;

 private:
  bool is_free(const Box& box, bool on_lines) const;

  Box frame_;
  std::vector<Box> boxes_;
  std::vector<Segment> segments_;
};

}  // namespace veloxquant::cli
