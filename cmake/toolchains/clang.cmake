# The newest clang that is installed with its runtime: its sanitizers and its libFuzzer are the ones that work on new kernels.
# A compiler that only came along with some tool has none.
function(canary_clang_has_runtime result program)
  execute_process(COMMAND "${program}" -print-resource-dir OUTPUT_VARIABLE dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  file(GLOB runtimes "${dir}/lib/*/libclang_rt.*")
  if(NOT runtimes)
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()
find_program(CANARY_CLANGXX NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14 clang++
  VALIDATOR canary_clang_has_runtime REQUIRED)
set(CMAKE_CXX_COMPILER "${CANARY_CLANGXX}")
