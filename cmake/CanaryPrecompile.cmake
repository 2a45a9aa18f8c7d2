# Precompiled headers for programs of many sources. Presets that are for running turn them on; `dev`, whose compile commands
# clang-tidy reads, leaves them off, so that an include that is missing shows there.
option(CANARY_PRECOMPILE "Precompile what most sources of the tool and of the tests include" OFF)

# canary_precompile(TARGET HEADERS...)
function(canary_precompile target)
  if(NOT CANARY_PRECOMPILE)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE ${ARGN})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The first lets ccache see what was precompiled. Precompiled, the library's own inlined calls no longer count as a system
    # header's: GCC 12 then sees an overflow in every "text" + std::string, like its bug 105651.
    target_compile_options(${target} PRIVATE -fpch-preprocess -Wno-stringop-overflow -Wno-array-bounds)
  endif()
endfunction()
