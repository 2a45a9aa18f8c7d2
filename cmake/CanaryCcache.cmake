# ccache when it is there and nobody chose a launcher: the sanitizer and compiler builds repeat most of the work. What it
# keeps serves checkouts in other folders too.
if(PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER AND NOT DEFINED ENV{CMAKE_CXX_COMPILER_LAUNCHER})
  find_program(CANARY_CCACHE ccache)
  mark_as_advanced(CANARY_CCACHE)
  if(CANARY_CCACHE)
    set(
      CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1 "${CANARY_CCACHE}"
    )
  endif()
endif()
