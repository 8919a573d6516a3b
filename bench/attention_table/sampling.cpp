#include "sampling.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

namespace veloxquant::bench {
namespace {

constexpr double kLimit = 0.05;  // of one processor

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
}

// Seconds in which the machine's processors were busy or kept from us (steal), less our own.
double others_time() {
  std::ifstream stat("/proc/stat");
  std::string word;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0;
  if (!(stat >> word >> user >> nice >> system >> idle >> wait >> irq >> softirq >> steal)) return 0;
  const double ticks = user + nice + system + irq + softirq + steal;
  rusage own{};
  getrusage(RUSAGE_SELF, &own);
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK)) - seconds_of(own.ru_utime) -
         seconds_of(own.ru_stime);
}

}  // namespace

OthersMeter::OthersMeter() : start_time_(now()), start_others_(others_time()) {}

// The machine counts in ticks, each process exactly: a difference of one tick says nothing.
double OthersMeter::share() const {
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::max(0.0, others_time() - start_others_ - tick) / (now() - start_time_);
}

Stopwatch::Stopwatch() : start_(now()) {}
double Stopwatch::seconds() const { return now() - start_; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

Samples take_samples(int wanted, const std::function<std::vector<double>()>& sample) {
  struct Taken {
    std::vector<double> figures;
    bool clean;
  };
  std::vector<Taken> taken;
  Samples samples;
  while (samples.clean < wanted && samples.taken < 3 * wanted) {
    const OthersMeter others;
    std::vector<double> figures = sample();
    const bool clean = others.share() <= kLimit;
    samples.clean += clean ? 1 : 0;
    samples.taken += 1;
    taken.push_back({std::move(figures), clean});
  }
  samples.figures.resize(taken.front().figures.size());
  for (const Taken& one : taken) {
    if (samples.clean > 0 && !one.clean) continue;
    for (std::size_t f = 0; f < one.figures.size(); ++f) samples.figures[f].push_back(one.figures[f]);
  }
  return samples;
}

}  // namespace veloxquant::bench
