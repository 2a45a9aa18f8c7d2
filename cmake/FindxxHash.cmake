# Finds xxHash's header and defines xxHash::xxhash, without a library: canary compiles it in by XXH_INLINE_ALL.
# Debian and most others ship xxHash with a pkg-config file only.
#
# Result    xxHash_FOUND, xxHash_VERSION, target xxHash::xxhash
# Cache     xxHash_INCLUDE_DIR
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_xxHash QUIET libxxhash)
endif()

find_path(xxHash_INCLUDE_DIR xxhash.h HINTS ${PC_xxHash_INCLUDE_DIRS})
mark_as_advanced(xxHash_INCLUDE_DIR)

if(xxHash_INCLUDE_DIR)
  set(xxHash_VERSION "")
  foreach(part MAJOR MINOR RELEASE)
    file(STRINGS "${xxHash_INCLUDE_DIR}/xxhash.h" line REGEX "^#[ ]*define[ ]+XXH_VERSION_${part}[ ]+[0-9]+")
    string(REGEX MATCH "[0-9]+" number "${line}")
    list(APPEND xxHash_VERSION "${number}")
  endforeach()
  list(JOIN xxHash_VERSION "." xxHash_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(xxHash REQUIRED_VARS xxHash_INCLUDE_DIR VERSION_VAR xxHash_VERSION)

if(xxHash_FOUND AND NOT TARGET xxHash::xxhash)
  add_library(xxHash::xxhash INTERFACE IMPORTED GLOBAL)
  target_include_directories(xxHash::xxhash INTERFACE "${xxHash_INCLUDE_DIR}")
endif()
