// make_seeds DIR: small valid inputs from which the fuzzers start, one folder for each.
#include <filesystem>
#include <iostream>
#include <string>
#include <veloxquant/io/files.hpp>
#include <veloxquant/io/safetensors.hpp>

namespace {

using namespace veloxquant;

void safetensors_seeds(const std::filesystem::path& folder) {
  write_safetensors(folder / "nothing", {});
  write_safetensors(folder / "metadata", {}, {{"key", "value"}, {"lines", "one\ntwo"}});
  for (int i = 0; i <= static_cast<int>(DType::f64); ++i) {
    const auto dtype = static_cast<DType>(i);
    write_safetensors(folder / to_string(dtype), {{"w", Tensor::zeros({2, 3}, dtype)}});
  }
  const NamedTensors several{{"a.b", Tensor::zeros({2, 1, 2}, DType::f16)},
                             {"empty", Tensor::zeros({0, 4}, DType::i64)},
                             {"scalar", Tensor::zeros({}, DType::f32)},
                             {"bytes", Tensor::zeros({5}, DType::u8)}};
  write_safetensors(folder / "several", several, {{"format", "pt"}});
  write_sealed_safetensors(folder / "sealed", several, {{"method", "trellis"}});
  write_file_atomically(folder / "unaligned",
                        std::string("\x37\0\0\0\0\0\0\0", 8) +
                            R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )" + "1234");
}

void shard_index_seeds(const std::filesystem::path& folder) {
  write_file_atomically(folder / "one", R"({"weight_map":{"a":"model-00001-of-00001.safetensors"}})");
  write_file_atomically(folder / "two", R"({"metadata":{"total_size":26,"notes":[1.5,null,{"x":true}]},)"
                                        R"("weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_seeds DIR\n";
    return 1;
  }
  try {
    const std::filesystem::path root = argv[1];
    for (const char* what : {"safetensors", "shard_index"}) std::filesystem::create_directories(root / what);
    safetensors_seeds(root / "safetensors");
    shard_index_seeds(root / "shard_index");
  } catch (const std::exception& e) {
    std::cerr << "make_seeds: " << e.what() << '\n';
    return 1;
  }
}
