# Attention kernels: tile decoders, a decode step, prefill.
find_package(benchmark 1.7 CONFIG REQUIRED)
add_executable(attend_bench ${CMAKE_CURRENT_LIST_DIR}/attend_bench.cpp)
velox_target_defaults(attend_bench)
target_include_directories(attend_bench PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(attend_bench PRIVATE veloxquant benchmark::benchmark)
