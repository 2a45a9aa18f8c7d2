# The newest clang that is installed: its sanitizers and its libFuzzer are the ones that work on new kernels.
find_program(CANARY_CLANGXX NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14 clang++ REQUIRED)
set(CMAKE_CXX_COMPILER "${CANARY_CLANGXX}")
