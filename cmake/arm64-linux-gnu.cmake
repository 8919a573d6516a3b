# 64-bit ARM from a Debian x86-64 machine: g++-aarch64-linux-gnu, the libraries' arm64 packages beside the native ones
# (`scripts/setup.sh cross` installs both), tests under QEMU.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
# Headers alone, but packaged for one architecture at a time.
set(dlpack_DIR /usr/lib/x86_64-linux-gnu/cmake/dlpack CACHE PATH "")
