// Progress on stderr: a bar on a terminal; elsewhere a line for every stage, and for every tenth of the whole
// work within one; nothing when quiet.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace veloxquant::cli {

class Progress {
 public:
  enum class Style { none, lines, bar };
  // A bar when stderr is a terminal that can move its cursor, else lines; none when `quiet`.
  static Style style_of_stderr(bool quiet);

  explicit Progress(Style style) : style_(style) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total` steps of the whole work are behind; `stage` ("window 2 of 4") and `item` ("trellis:2")
  // come next. The scale is the caller's to keep: `total` is always that of the whole work.
  void show(const std::string& stage, const std::string& item, std::size_t done, std::size_t total);
  // Prints a message that stays, unless quiet.
  void note(const std::string& message);
  // Takes the bar off the screen.
  void clear();

 private:
  std::string remaining_time(double fraction) const;

  Style style_;
  bool shown_ = false;
  std::string last_stage_;
  int last_tenth_ = -1;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace veloxquant::cli
