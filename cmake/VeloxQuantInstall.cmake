# Install rules: headers, libraries, a CMake package (find_package(VeloxQuant)) and pkg-config files.
include(CMakePackageConfigHelpers)

set(targets veloxquant)
if(VELOXQUANT_MODELS)
  list(APPEND targets veloxquant_models)
endif()
install(TARGETS ${targets} EXPORT VeloxQuantTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/veloxquant DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/VeloxQuant)
install(EXPORT VeloxQuantTargets NAMESPACE VeloxQuant:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/VeloxQuantConfig.cmake.in VeloxQuantConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(VeloxQuantConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/VeloxQuantConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/VeloxQuantConfigVersion.cmake
        DESTINATION ${package_dir})
configure_file(${PROJECT_SOURCE_DIR}/cmake/veloxquant.pc.in veloxquant.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/veloxquant.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
