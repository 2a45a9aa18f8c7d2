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
    target_compile_options(${target} PRIVATE -fpch-preprocess) # so that ccache sees what was precompiled
  endif()
endfunction()
