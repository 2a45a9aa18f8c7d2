include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(canary_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/canary")

# A file for core and canary, one more per component: whoever lacks a component's library still finds the rest.
install(TARGETS canary_core canary_canary EXPORT canaryTargets FILE_SET HEADERS)
install(EXPORT canaryTargets NAMESPACE canary:: DESTINATION "${canary_package_dir}")
foreach(component toml sqlite postgres http json)
  if(TARGET canary_${component})
    install(TARGETS canary_${component} EXPORT canary_${component}Targets FILE_SET HEADERS)
    install(EXPORT canary_${component}Targets NAMESPACE canary:: DESTINATION "${canary_package_dir}")
  endif()
endforeach()

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/canaryConfig.cmake.in" "${PROJECT_BINARY_DIR}/canaryConfig.cmake"
  INSTALL_DESTINATION "${canary_package_dir}"
  NO_SET_AND_CHECK_MACRO
)
# Before 1.0 a minor version may break; headers only, so the processor does not matter.
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/canaryConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT
)
install(
  FILES
    "${PROJECT_BINARY_DIR}/canaryConfig.cmake"
    "${PROJECT_BINARY_DIR}/canaryConfigVersion.cmake"
    "${CMAKE_CURRENT_LIST_DIR}/FindxxHash.cmake"
    "${CMAKE_CURRENT_LIST_DIR}/Findlibpq.cmake"
  DESTINATION "${canary_package_dir}"
)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/canary")
