#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace veloxquant::cli {
namespace {

constexpr int kBarWidth = 24;

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

// https://no-color.org
std::string_view green() { return is_set("NO_COLOR") ? "" : "\x1b[32m"; }
std::string_view plain() { return is_set("NO_COLOR") ? "" : "\x1b[0m"; }

}  // namespace

Progress::Style Progress::style_of_stderr(bool quiet) {
  if (quiet) return Style::none;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  return isatty(STDERR_FILENO) != 0 && !dumb ? Style::bar : Style::lines;
}

std::string Progress::remaining_time(double fraction) const {
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (fraction < 0.05 || elapsed < 2) return {};
  const auto seconds = std::lround(elapsed / fraction * (1 - fraction));
  return fmt::format(", about {}:{:02} left", seconds / 60, seconds % 60);
}

void Progress::show(const std::string& stage, const std::string& item, std::size_t done, std::size_t total) {
  if (style_ == Style::none) return;
  const double fraction = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  if (style_ == Style::lines) {
    const auto tenth = static_cast<int>(10 * fraction);
    if (stage != last_stage_ || tenth != last_tenth_)
      fmt::print(stderr, "{:3.0f} % {}\n", 100 * fraction, stage);
    last_stage_ = stage;
    last_tenth_ = tenth;
    return;
  }
  const auto filled = static_cast<int>(fraction * kBarWidth);
  fmt::print(stderr, "\r\x1b[K[{}{:#<{}}{}{:.<{}}] {:3.0f} % {}: {}{}", green(), "", filled, plain(), "",
             kBarWidth - filled, 100 * fraction, stage, item, remaining_time(fraction));
  std::fflush(stderr);
  shown_ = true;
}

void Progress::note(const std::string& message) {
  clear();
  if (style_ != Style::none) fmt::print(stderr, "veloxquant: {}\n", message);
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace veloxquant::cli
