# Functions that give every target of the project the same language level, warnings and numeric rules.

# velox_target_defaults(target): warnings, and floating-point rules that make codes the same on every CPU.
function(velox_target_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                         $<$<BOOL:${VELOXQUANT_WERROR}>:-Werror>)
  # g++ 12 sees overlapping copies in std::string that cannot happen (GCC bug 105651).
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  # libstdc++ 12's own std::stable_sort uses what it deprecates; clang reports it at the place of the call.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>)
  # A multiply and an add may not be fused behind our back: codes must not depend on the CPU level.
  target_compile_options(${target} PRIVATE -ffp-contract=off)
  # The lowest x86-64 level served has SSE4.2 and AES (2010); kernels for later CPUs are chosen at run time.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(${target} PRIVATE -march=x86-64-v2 -maes -mpclmul)
  endif()
endfunction()

# velox_add_library(name): a library whose rooms add their own sources.
function(velox_add_library name)
  add_library(${name})
  add_library(VeloxQuant::${name} ALIAS ${name})
  velox_target_defaults(${name})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR})
  target_include_directories(${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
endfunction()

# velox_add_room(target room): every source of src/<room>.
function(velox_add_room target room)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${room}/*.cpp)
  target_sources(${target} PRIVATE ${sources})
endfunction()

# velox_x86_flags(source flag...): compile one kernel file for a later CPU level (x86-64 builds only).
function(velox_x86_flags source)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    # g++ 12 takes the deliberately undefined registers inside its own intrinsics for mistakes.
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
                                "${ARGN};$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
  endif()
endfunction()

# velox_arm_flags(source flag...): the same for 64-bit ARM builds.
function(velox_arm_flags source)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${ARGN}")
  endif()
endfunction()
