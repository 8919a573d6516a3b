// Calibration by several processes: threads of this one stand for them. The command under mpirun:
// tests/cli/mpi_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <cstdlib>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "cli/ranks.hpp"
#include "eval/calibration_fixtures.hpp"
#include "eval/model_statistics.hpp"

namespace veloxquant {
namespace {

using namespace testing;
using ::testing::ElementsAre;

// Ranks that are threads.
class Threads {
 public:
  explicit Threads(int size) : size_(size), barrier_(size) {}

  // What each rank's `work` has thrown: its message; of RankFailed, the rank that failed.
  std::vector<std::string> run(const std::function<void(Communicator& ranks)>& work) {
    std::vector<std::string> thrown(static_cast<std::size_t>(size_));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size_; ++rank) {
      threads.emplace_back([&, rank] {
        Rank ranks(*this, rank);
        try {
          cli::together(ranks, [&] { work(ranks); });
        } catch (const RankFailed& e) {
          thrown[static_cast<std::size_t>(rank)] = "rank " + std::to_string(e.rank());
        } catch (const std::exception& e) {
          thrown[static_cast<std::size_t>(rank)] = e.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return thrown;
  }

 private:
  class Rank final : public Communicator {
   public:
    Rank(Threads& all, int rank) : all_(all), rank_(rank) {}
    int rank() const noexcept override { return rank_; }
    int size() const noexcept override { return all_.size_; }

   protected:
    void broadcast(int from, std::optional<Part>& part) override {
      if (from == rank_) all_.said_ = part;
      all_.barrier_.arrive_and_wait();
      if (from != rank_) part = all_.said_;
      all_.barrier_.arrive_and_wait();
    }

   private:
    Threads& all_;
    int rank_;
  };

  int size_;
  std::barrier<> barrier_;
  std::optional<Communicator::Part> said_;
};

TEST(Ranks, EveryRankHasThePartsOfAllInTheirOrder) {
  std::vector<std::vector<double>> seen(3);
  const auto thrown = Threads(3).run([&](Communicator& ranks) {
    for (int round = 0; round < 2; ++round) {
      ranks.exchange({10.0 * round + ranks.rank()}, [&](int rank, const Communicator::Part& part) {
        EXPECT_EQ(part.at(0), 10.0 * round + rank);
        seen[static_cast<std::size_t>(ranks.rank())].push_back(part[0]);
      });
    }
  });
  EXPECT_THAT(thrown, ElementsAre("", "", ""));
  for (const auto& parts : seen) EXPECT_THAT(parts, ElementsAre(0, 1, 2, 10, 11, 12));
}

// One says why, the others which one: in its own work, in a round, after the last one, and two at once.
TEST(Ranks, AFailureEndsAllAndIsToldOnce) {
  const auto nothing = [](int, const Communicator::Part&) {};
  for (const int failing : {0, 1, 2}) {
    for (const int when : {0, 1, 2}) {
      std::vector<std::string> wanted(3, "rank " + std::to_string(failing));
      wanted[static_cast<std::size_t>(failing)] = "why";
      EXPECT_EQ(Threads(3).run([&](Communicator& ranks) {
        const bool fails = ranks.rank() == failing;
        if (fails && when == 0) throw std::runtime_error("why");
        ranks.exchange({}, [&](int, const Communicator::Part&) {
          if (fails && when == 1) throw std::runtime_error("why");
        });
        if (fails && when == 2) throw std::runtime_error("why");
      }),
                wanted)
          << failing << " " << when;
    }
  }
  EXPECT_THAT(Threads(3).run([&](Communicator& ranks) {
    if (ranks.rank() > 0) throw std::runtime_error("why");
    ranks.exchange({}, nothing);
  }),
              ElementsAre("rank 1", "why", "rank 1"));
  EXPECT_THAT(Threads(1).run([](Communicator&) { throw std::runtime_error("why"); }), ElementsAre("why"));
}

// This program is built without MPI, whatever the command is.
TEST(Ranks, WithoutMpiSeveralProcessesAreRefusedOnce) {
  EXPECT_EQ(cli::join_ranks()->size(), 1);
  for (const auto& [size, rank] :
       {std::pair("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), std::pair("PMI_SIZE", "PMI_RANK")}) {
    setenv(size, "1", 1);
    EXPECT_EQ(cli::join_ranks()->size(), 1);
    setenv(size, "3", 1);
    setenv(rank, "0", 1);
    EXPECT_THROW(cli::join_ranks(), UnsupportedError);
    setenv(rank, "2", 1);
    EXPECT_THROW(cli::join_ranks(), RankFailed);
    unsetenv(size);
    unsetenv(rank);
  }
}

// Windows in two parts, merged: the sums of the whole, whatever the order.
TEST(Ranks, StatisticsOfPartsMergeToThoseOfTheWhole) {
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  const CalibrationRequest request = request_for(decoder, 200, 3);
  const CalibrationSource source = source_of(decoder, request);
  for (const KeyMetric metric : {KeyMetric::output, KeyMetric::query, KeyMetric::identity}) {
    const auto of = [&](std::initializer_list<std::size_t> windows) {
      ModelStatistics statistics(source.model, metric, request.sinks, 7);
      for (const std::size_t window : windows)
        source.run(window, [&](int layer, const HeadActivations& a) { statistics.add(window, layer, a); });
      return statistics;
    };
    const ModelStatistics whole = of({0, 1, 2});
    ModelStatistics merged = of({2});
    merged.merge(of({}));
    merged.merge(of({0, 1}));
    StateWriter one, other;
    whole.save(one);
    merged.save(other);
    const std::vector<double> wanted = one.take(), found = other.take();
    ASSERT_EQ(wanted.size(), found.size());
    double largest = 0;
    for (const double x : wanted) largest = std::max(largest, std::abs(x));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      ASSERT_NEAR(found[i], wanted[i], 1e-9 * std::abs(wanted[i]) + 1e-12 * largest) << i;
  }
}

// The artifacts of rank 0; the others have none.
ArtifactStore calibrated(int size, const CalibrationRequest& request,
                         const std::function<ArtifactStore(Decoder&, const CalibrationRequest&)>& run,
                         std::vector<std::string>* thrown = nullptr) {
  ArtifactStore result;
  const auto failures = Threads(size).run([&](Communicator& ranks) {
    Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
    CalibrationRequest own = request;
    own.ranks = &ranks;
    ArtifactStore store = run(decoder, own);
    if (ranks.rank() == 0) {
      result = std::move(store);
    } else {
      EXPECT_TRUE(store.tensors().empty() && store.facts().empty());
    }
  });
  if (thrown != nullptr) {
    *thrown = failures;
  } else {
    EXPECT_EQ(failures, std::vector<std::string>(static_cast<std::size_t>(size)));
  }
  return result;
}

ArtifactStore spectral(Decoder& decoder, const CalibrationRequest& request) {
  return precompute_spectral(decoder, request, {.sensitivity_windows = 1});
}
ArtifactStore ratequant(Decoder& decoder, const CalibrationRequest& request) {
  return precompute_ratequant(decoder, request, {.widths = {1, 2, 4}, .sensitivity_windows = 1});
}
ArtifactStore vecinfer(Decoder& decoder, const CalibrationRequest& request) {
  return precompute_vecinfer(decoder, request, Smoothing::balanced);
}

// Four windows for three ranks, and one, so that a rank has none.
TEST(Ranks, ReachTheStatisticsOfOneProcess) {
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  for (const std::int64_t windows : {4, 1}) {
    const CalibrationRequest request = request_for(decoder, 96, windows);
    const ArtifactStore one = spectral(decoder, request), three = calibrated(3, request, spectral);
    expect_near(three, one, {"mean", "lambda"}, 1e-5f);
    expect_near(three, one, {"weight"}, 2e-2f);  // the bases of nearly equal variances are free
    expect_near(calibrated(3, request, ratequant), ratequant(decoder, request),
                {"distortion", "proxy", "weight"}, 1e-5f);
  }
}

TEST(Ranks, TrainCodebooksOnTheSampleOfOneProcess) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "training takes minutes";
#endif
#endif
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  const CalibrationRequest request = request_for(decoder, 280, 4);
  const ArtifactStore one = vecinfer(decoder, request), three = calibrated(3, request, vecinfer);
  expect_near(three, one, {"mean"}, 0);
  expect_near(three, one, {"smooth"}, 1e-6f);
}

// Each rank goes on from what it has kept, among as many others; other numbers of ranks share otherwise.
TEST(Ranks, GoOnWhereTheyWereCutShort) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  CalibrationRequest request = request_for(decoder, 96, 4);
  const std::string wanted = saved(calibrated(3, request, ratequant), folder.path() / "whole");
  request.checkpoints = folder.path() / "unfinished";
  std::mutex mutex;
  int done = 0;
  std::vector<std::string> thrown;
  request.progress = [&](const std::string& stage, const std::string&, std::size_t, std::size_t) {
    const std::scoped_lock lock(mutex);
    if (stage == "sensitivity" && ++done > 12) throw std::runtime_error("killed");
  };
  calibrated(3, request, ratequant, &thrown);
  EXPECT_EQ(std::ranges::count(thrown, "killed"), 1);

  int windows = 0, probes = 0;
  request.progress = [&](const std::string& stage, const std::string&, std::size_t, std::size_t) {
    const std::scoped_lock lock(mutex);
    ++(stage == "statistics" ? windows : probes);
  };
  EXPECT_EQ(saved(calibrated(3, request, ratequant), folder.path() / "again"), wanted);
  EXPECT_EQ(windows, 0);
  EXPECT_EQ(probes, 24 - 12);
  windows = probes = 0;
  calibrated(2, request, ratequant);
  EXPECT_EQ(windows, 4);
  EXPECT_EQ(probes, 24);
}

}  // namespace
}  // namespace veloxquant
