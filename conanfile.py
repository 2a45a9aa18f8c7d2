import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir

required_conan_version = ">=2.0"


class CanaryConan(ConanFile):
    name = "canary"
    description = "Canary releases for model versions: sticky, minimal-movement routing in nanoseconds"
    license = "Apache-2.0"
    topics = ("canary", "routing", "machine-learning", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {
        "with_toml": [True, False],
        "with_sqlite": [True, False],
        "with_postgres": [True, False],
        "with_http": [True, False],
    }
    default_options = {"with_toml": True, "with_sqlite": True, "with_postgres": False, "with_http": False}
    exports_sources = "CMakeLists.txt", "cmake/*", "include/*", "LICENSE"
    no_copy_source = True

    def set_version(self):
        types = load(self, os.path.join(self.recipe_folder, "include", "canary", "core", "types.hpp"))
        self.version = re.search(r'^inline constexpr std::string_view version = "([0-9.]+)"', types, re.M).group(1)

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        # Header only: of Boost, Container; of xxHash, the code compiled in by XXH_INLINE_ALL.
        self.requires("boost/[>=1.74]", options={"header_only": True}, transitive_headers=True)
        self.requires("xxhash/[>=0.8]", transitive_headers=True)
        if self.options.with_toml:
            self.requires("tomlplusplus/[>=3.3]", transitive_headers=True)
        if self.options.with_sqlite:
            self.requires("sqlite3/[>=3.37]", transitive_headers=True, transitive_libs=True)

        if self.options.with_postgres:
            self.requires("libpq/[>=14]", transitive_headers=True, transitive_libs=True)
        if self.options.with_http:
            self.requires("libcurl/[>=7.68]", transitive_headers=True, transitive_libs=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def package_id(self):
        # Same headers for every compiler and processor; the options decide which ones.
        self.info.settings.clear()
        self.info.requires.clear()

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["CANARY_BUILD_TOOLS"] = False
        toolchain.cache_variables["CANARY_TOML"] = "ON" if self.options.with_toml else "OFF"
        toolchain.cache_variables["CANARY_SQLITE"] = "ON" if self.options.with_sqlite else "OFF"
        toolchain.cache_variables["CANARY_POSTGRES"] = "ON" if self.options.with_postgres else "OFF"
        toolchain.cache_variables["CANARY_HTTP"] = "ON" if self.options.with_http else "OFF"
        toolchain.generate()

    def build(self):
        CMake(self).configure()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        CMake(self).install()
        # CMakeDeps writes the package files; ours would find the dependencies a second time.
        rmdir(self, os.path.join(self.package_folder, "lib"))
        rmdir(self, os.path.join(self.package_folder, "share"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "canary")
        components = {
            "core": ["boost::headers", "xxhash::xxhash"],
            "canary": ["core"],
        }
        if self.options.with_toml:
            components["toml"] = ["canary", "tomlplusplus::tomlplusplus"]
        if self.options.with_sqlite:
            components["sqlite"] = ["canary", "sqlite3::sqlite3"]
        if self.options.with_postgres:
            components["postgres"] = ["canary", "libpq::pq"]
        if self.options.with_http:
            components["http"] = ["canary", "libcurl::libcurl"]
        for name, requires in components.items():
            component = self.cpp_info.components[name]
            component.set_property("cmake_target_name", f"canary::{name}")
            component.requires = requires
            component.bindirs = []
            component.libdirs = []
            if name == "core" and self.settings.os in ("Linux", "FreeBSD"):
                component.system_libs = ["pthread"]
