// Looks on while the unquantized model runs, and measures by group what a base method loses on the model's own keys
// and values, and how large they are.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>
#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "calibration/model_groups.hpp"
#include "calibration/state.hpp"
#include "eval/calibration_source.hpp"

namespace veloxquant {

// A base method at each of its widths, for keys and for values.
struct WidthMethods {
  std::vector<std::shared_ptr<const VectorQuantizer>> keys, values;

  const VectorQuantizer& at(Role role, std::size_t width) const {
    return *(role == Role::keys ? keys : values)[width];
  }
};

class GroupStatistics {
 public:
  // The first `sinks` tokens of each window are left out.
  GroupStatistics(const ModelParts& model, WidthMethods methods, std::int64_t sinks);

  // Each window comes in one piece.
  void add(std::size_t window, int layer, const HeadActivations& activations);
  // Of other windows of the same model.
  void merge(const GroupStatistics& other);
  // What was gathered, exactly; restore() takes it for the same model and methods.
  void save(StateWriter& out) const;
  void restore(StateReader& in);

  // E|x - x'|^2 / E|x|^2 of group `g` at each width; 0 where all vectors are zero.
  std::vector<double> distortion(std::size_t g) const;
  // The expected square of what a group of distortion one adds to the hidden states, over theirs after attention
  // (which is what the norm behind it divides by), up to a factor that is taken to be the same for all groups (the sum
  // of squared attention weights). With errors that have no preferred direction, logits <q, k> / sqrt(d) are off by
  // E|q|^2 E|k|^2 / d^2, which moves the output among the values, and values are off by E|v|^2:
  //
  //     keys     sum over query heads of E|q|^2 |W_O|^2 / d  *  E|k|^2 / d^2  *  E|v - E v|^2  /  E|hidden|^2
  //     values   sum over query heads of        |W_O|^2 / d                   *  E|v|^2        /  E|hidden|^2
  //
  // where E|hidden|^2 is that of the layer's input plus, over all query heads, |W_O|^2 / d E|output of the head|^2.
  double proxy(std::size_t g) const;

 private:
  struct Layer {
    std::vector<double> projection_square;  // |W_O|^2 by query head
    // Sums over tokens.
    std::vector<double> tokens{0}, hidden_square{0};
    std::vector<double> query_square, output_square;  // by query head; of queries, and of attention's output
    std::vector<std::vector<double>> values;          // by KV head
  };
  double hidden_square(const Layer& layer) const;  // after attention, mean over tokens
  void add_errors(int layer, const HeadActivations& activations);
  // All that is summed, in the order in which it is saved.
  template <class Self>
  static auto sums(Self& self);

  ModelGroups groups_;
  int queries_per_head_;
  WidthMethods methods_;
  std::int64_t sinks_;
  std::shared_ptr<ThreadPool> pool_;
  std::vector<Layer> layers_;
  std::vector<double> energy_;               // by group, sum of |x|^2
  std::vector<std::vector<double>> errors_;  // by group and width, sum of |x - x'|^2
};

}  // namespace veloxquant
