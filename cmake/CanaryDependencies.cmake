# What canary needs from outside: an installed package first, the project's own upstream second. Before our own compile
# options, so that nobody else's sources are built with them.
include(FetchContent)

# Where scripts/bootstrap.sh unpacks what the distribution has too old, or for another processor.
if(DEFINED ENV{CANARY_DEPS_DIR})
  set(canary_deps_dir "$ENV{CANARY_DEPS_DIR}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(canary_deps_dir "$ENV{XDG_CACHE_HOME}/canary")
else()
  set(canary_deps_dir "$ENV{HOME}/.cache/canary")
endif()

# --- xxHash: header only, by XXH_INLINE_ALL ---
find_package(xxHash 0.8 QUIET MODULE)
if(NOT TARGET xxHash::xxhash)
  message(STATUS "canary: no installed xxHash, fetching it")
  # A SOURCE_SUBDIR without a CMakeLists.txt: the sources are wanted, their build is not.
  FetchContent_Declare(xxhash GIT_REPOSITORY https://github.com/Cyan4973/xxHash.git GIT_TAG v0.8.2 GIT_SHALLOW ON
                       SOURCE_SUBDIR no-build)
  FetchContent_MakeAvailable(xxhash)
  set(xxHash_INCLUDE_DIR "${xxhash_SOURCE_DIR}" CACHE PATH "" FORCE)
  find_package(xxHash 0.8 REQUIRED MODULE)
endif()

# --- Boost: headers only. Core and adapters need Container; the tool needs JSON too, as newer ones have it ---
set(canary_boost_minimum 1.74)
if(CANARY_BUILD_TOOLS)
  set(canary_boost_minimum 1.81)
endif()
# The package file first. Without one (cross builds, a plain header folder) the headers themselves will do.
find_package(Boost ${canary_boost_minimum} QUIET CONFIG HINTS "${canary_deps_dir}/boost/usr")
if(NOT TARGET Boost::headers)
  find_path(CANARY_BOOST_INCLUDE_DIR boost/container/small_vector.hpp HINTS "${canary_deps_dir}/boost/usr/include")
  mark_as_advanced(CANARY_BOOST_INCLUDE_DIR)
  if(CANARY_BOOST_INCLUDE_DIR)
    file(STRINGS "${CANARY_BOOST_INCLUDE_DIR}/boost/version.hpp" canary_boost_line REGEX "^#define BOOST_LIB_VERSION ")
    string(REGEX MATCH "[0-9]+_[0-9]+" canary_boost_version "${canary_boost_line}")
    string(REPLACE "_" "." canary_boost_version "${canary_boost_version}")
    if(canary_boost_version VERSION_GREATER_EQUAL canary_boost_minimum)
      add_library(Boost::headers INTERFACE IMPORTED GLOBAL)
      target_include_directories(Boost::headers INTERFACE "${CANARY_BOOST_INCLUDE_DIR}")
    endif()
  endif()
endif()
if(NOT TARGET Boost::headers)
  message(STATUS "canary: no installed Boost >= ${canary_boost_minimum}, fetching it")
  set(BOOST_INCLUDE_LIBRARIES container)
  if(CANARY_BUILD_TOOLS)
    list(APPEND BOOST_INCLUDE_LIBRARIES json)
  endif()
  FetchContent_Declare(Boost URL https://github.com/boostorg/boost/releases/download/boost-1.84.0/boost-1.84.0.tar.xz
                       DOWNLOAD_EXTRACT_TIMESTAMP ON)
  FetchContent_MakeAvailable(Boost)
  if(NOT TARGET Boost::headers)
    add_library(Boost::headers INTERFACE IMPORTED GLOBAL)
    foreach(library IN LISTS BOOST_INCLUDE_LIBRARIES)
      target_link_libraries(Boost::headers INTERFACE Boost::${library})
    endforeach()
  endif()
endif()

# --- toml++: for canary::toml and the tool ---
if(CANARY_TOML)
  find_package(tomlplusplus 3.3 QUIET CONFIG)
  if(NOT TARGET tomlplusplus::tomlplusplus)
    if(CANARY_TOML STREQUAL "AUTO" AND NOT PROJECT_IS_TOP_LEVEL)
      message(STATUS "canary: no installed toml++, so no target canary::toml (CANARY_TOML=ON fetches it)")
      set(CANARY_TOML OFF)
    else()
      message(STATUS "canary: no installed toml++, fetching it")
      FetchContent_Declare(tomlplusplus GIT_REPOSITORY https://github.com/marzer/tomlplusplus.git GIT_TAG v3.4.0
                           GIT_SHALLOW ON)
      FetchContent_MakeAvailable(tomlplusplus)
    endif()
  endif()
endif()

# --- CLI11: the tool alone ---
if(CANARY_BUILD_TOOLS)
  find_package(CLI11 2.1 QUIET CONFIG)
  if(NOT TARGET CLI11::CLI11)
    message(STATUS "canary: no installed CLI11, fetching it")
    FetchContent_Declare(cli11 GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git GIT_TAG v2.4.2 GIT_SHALLOW ON)
    FetchContent_MakeAvailable(cli11)
  endif()
endif()

# --- Catch2 v3: the tests ---
if(CANARY_BUILD_TESTS)
  find_package(Catch2 3 QUIET CONFIG HINTS "${canary_deps_dir}/catch2-${CMAKE_LIBRARY_ARCHITECTURE}/usr")
  if(NOT TARGET Catch2::Catch2WithMain)
    message(STATUS "canary: no installed Catch2 v3, fetching it")
    FetchContent_Declare(Catch2 GIT_REPOSITORY https://github.com/catchorg/Catch2.git GIT_TAG v3.7.1 GIT_SHALLOW ON)
    FetchContent_MakeAvailable(Catch2)
    list(APPEND CMAKE_MODULE_PATH "${Catch2_SOURCE_DIR}/extras")
  endif()
endif()

# --- Google Benchmark: the benches ---
if(CANARY_BUILD_BENCH)
  find_package(benchmark 1.7 QUIET CONFIG)
  if(NOT TARGET benchmark::benchmark)
    message(STATUS "canary: no installed Google Benchmark, fetching it")
    set(BENCHMARK_ENABLE_TESTING OFF)
    FetchContent_Declare(benchmark GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.8.3 GIT_SHALLOW ON)
    FetchContent_MakeAvailable(benchmark)
  endif()
endif()
