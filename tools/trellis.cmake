# train_trellis > src/codebook/trellis_tables.cpp  trains the tables anew (minutes, always the same tables).
add_executable(train_trellis ${CMAKE_CURRENT_LIST_DIR}/train_trellis.cpp)
velox_target_defaults(train_trellis)
target_include_directories(train_trellis PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(train_trellis PRIVATE veloxquant fmt::fmt Threads::Threads)
