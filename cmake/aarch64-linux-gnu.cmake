# Cross-compiles for 64-bit ARM Linux with Debian's g++-aarch64-linux-gnu; ctest then runs under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
find_program(CAMFIT_QEMU NAMES qemu-aarch64-static qemu-aarch64)  # without it the tests are only built
if(CAMFIT_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${CAMFIT_QEMU} -L /usr/aarch64-linux-gnu)
endif()
