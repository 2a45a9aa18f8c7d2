# Finds PostgreSQL's client library alone and defines libpq::pq. CMake's FindPostgreSQL wants the server's headers too in
# some of its versions. With vcpkg it is the other way round: only that one knows what a static libpq needs.
#
# Result    libpq_FOUND, libpq_VERSION, target libpq::pq
# Cache     libpq_INCLUDE_DIR, libpq_LIBRARY
if(DEFINED VCPKG_TARGET_TRIPLET)
  find_package(PostgreSQL QUIET)
endif()

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_libpq QUIET libpq)
endif()

find_path(libpq_INCLUDE_DIR libpq-fe.h HINTS ${PC_libpq_INCLUDE_DIRS} PATH_SUFFIXES postgresql pgsql)
find_library(libpq_LIBRARY NAMES pq libpq HINTS ${PC_libpq_LIBRARY_DIRS})
mark_as_advanced(libpq_INCLUDE_DIR libpq_LIBRARY)
set(libpq_VERSION "${PC_libpq_VERSION}")

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(libpq REQUIRED_VARS libpq_LIBRARY libpq_INCLUDE_DIR VERSION_VAR libpq_VERSION)

if(libpq_FOUND AND NOT TARGET libpq::pq)
  if(DEFINED VCPKG_TARGET_TRIPLET AND TARGET PostgreSQL::PostgreSQL)
    add_library(libpq::pq INTERFACE IMPORTED GLOBAL)
    target_link_libraries(libpq::pq INTERFACE PostgreSQL::PostgreSQL)
  else()
    add_library(libpq::pq UNKNOWN IMPORTED GLOBAL)
    set_target_properties(
      libpq::pq PROPERTIES IMPORTED_LOCATION "${libpq_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${libpq_INCLUDE_DIR}"
    )
  endif()
endif()
