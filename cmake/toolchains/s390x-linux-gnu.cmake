set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR s390x)
set(CMAKE_CXX_COMPILER s390x-linux-gnu-g++)
find_program(CANARY_EMULATOR NAMES qemu-s390x-static qemu-s390x REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR "${CANARY_EMULATOR}")
# Static, so that the emulator needs no foreign root.
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
