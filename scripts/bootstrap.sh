#!/usr/bin/env bash
# Installs what a door needs and the machine lacks:  scripts/bootstrap.sh demo|check|bench|soak|format
# What is there already, from whatever source, is left alone; with nothing missing it needs neither network nor root.
. "$(dirname "$0")/lib.sh"

door="${1:-check}"
case "$door" in demo | check | bench | soak | format) ;; *) die "usage: $0 demo|check|bench|soak|format" ;; esac

missing=()   # Debian package names, to be installed in one go
updated=no   # whether apt's lists were refreshed in this run

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo "$@"
  else die "root is needed to run: $* (become root, or install sudo)"
  fi
}

refresh() {
  if [ "$updated" = yes ]; then return; fi
  have apt-get || die "this machine has no apt-get; please install by hand what is missing: ${missing[*]:-$*}"
  say "apt-get update" >&2
  as_root apt-get -qq update
  updated=yes
}

offered_version() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([^(].*\)/\1/p'; }
offers() { [ -n "$(offered_version "$1")" ]; }
# Adds the first package of the list that the machine's sources offer, if any does.
want_first() {
  local package
  refresh "$@"
  for package in "$@"; do if offers "$package"; then missing+=("$package"); return; fi; done
}

header() {
  local folder
  for folder in /usr/local/include /usr/include; do if [ -e "$folder/$1" ]; then return 0; fi; done
  return 1
}

# libpq's header lies in a folder of its own on Debian, the server's programs in one of their version's.
need_libpq() { if ! header libpq-fe.h && ! header postgresql/libpq-fe.h; then missing+=(libpq-dev); fi; }
# libcurl's lies in a folder of the processor's on Debian. One of its three packages is enough, whichever it is.
need_libcurl() {
  if header curl/curl.h || compgen -G '/usr/include/*-linux-gnu/curl/curl.h' >/dev/null; then return; fi
  missing+=(libcurl4-openssl-dev)
}
need_postgres() {
  if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! have initdb; then missing+=(postgresql); fi
  if ! have pgbouncer && [ ! -x /usr/sbin/pgbouncer ]; then missing+=(pgbouncer); fi
}
# Tests start clusters of their own; the package's one would only be in the way.
no_main_cluster() {
  case " ${missing[*]:-} " in *' postgresql '*) ;; *) return ;; esac
  if [ -e /etc/postgresql-common/createcluster.conf ]; then return; fi
  as_root mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
}

# What the export's lines are checked by.
need_export_checks() {
  if ! have jq; then missing+=(jq); fi
  if [ ! -e /usr/lib/python3/dist-packages/fastjsonschema ] && ! python3 -c 'import fastjsonschema' 2>/dev/null; then
    missing+=(python3-fastjsonschema)
  fi
}

need_command() { if ! have "$1"; then missing+=("$2"); fi; }
need_header() { if ! header "$1"; then missing+=("$2"); fi; }

# Core builds with Boost 1.74, the tool needs 1.81. Debian's development packages of two versions exclude each other, so
# beside an older one that is installed, a newer one is unpacked, not installed.
boost_wanted=108100
boost_beside=''
need_boost() {
  local folder version package=libboost-dev installed=no
  for folder in "$CANARY_DEPS_DIR/boost/usr/include" /usr/local/include /usr/include; do
    version="$(sed -n 's/^#define BOOST_VERSION \([0-9]*\).*/\1/p' "$folder/boost/version.hpp" 2>/dev/null || true)"
    if [ "${version:-0}" -ge "$boost_wanted" ] && [ -e "$folder/boost/json.hpp" ]; then return; fi
    if [ -n "$version" ]; then installed=yes; fi
  done
  refresh libboost-dev
  version="$(offered_version libboost-dev)"
  if ! dpkg --compare-versions "${version%%-*}" ge 1.81; then
    package="$(apt-cache pkgnames libboost1. | grep -E '^libboost1\.[0-9]+-dev$' | sort -V | tail -n 1)"
  fi
  if [ "$installed" = yes ]; then boost_beside="$package"; else missing+=("$package"); fi
}
unpack_boost() {
  local work
  if [ -z "$boost_beside" ]; then return; fi
  work="$(mktemp -d)"
  chmod 755 "$work"
  (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$boost_beside" && dpkg-deb -x ./*.deb root) ||
    die "apt-get could not download: $boost_beside"
  rm -rf "$CANARY_DEPS_DIR/boost"
  mkdir -p "$CANARY_DEPS_DIR"
  mv "$work/root" "$CANARY_DEPS_DIR/boost"
  rm -rf "$work"
  echo "$boost_beside, unpacked into $CANARY_DEPS_DIR/boost: the installed Boost is too old for the tool"
}

# One clang for everything, with its sanitizers' runtime: the newest that we know to work, since the tidy that counts brings
# a compiler of its own version along, and the build takes the newest that it finds.
need_clang() {
  local version
  for version in $LLVM_VERSIONS; do
    if have "clang++-$version" && clang_runtime "$version"; then llvm_version="$version"; break; fi
  done
  if [ "$llvm_version" = "${LLVM_VERSIONS%% *}" ]; then return; fi
  refresh clang
  for version in $LLVM_VERSIONS; do
    if [ "$version" = "$llvm_version" ]; then return; fi
    if offers "clang-$version" && offers "libclang-rt-$version-dev"; then
      missing+=("clang-$version" "libclang-rt-$version-dev")
      llvm_version="$version"
      return
    fi
  done
  missing+=(clang)
  want_first libclang-rt-dev
}
clang_runtime() {
  compgen -G "/usr/lib/llvm-$1/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a" >/dev/null
}

# Only one version of libc++ can be installed; an installed runtime decides which.
need_libcxx() {
  local version
  if compgen -G "/usr/lib/llvm-*/include/c++/v1/version" >/dev/null; then return; fi
  version="$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'libc++1-*' 2>/dev/null |
    sed -n 's/^ii *libc++1-\([0-9]*\)$/\1/p' | tail -n 1 || true)"
  version="${version:-${llvm_version:-}}"
  if [ -n "$version" ]; then missing+=("libc++-$version-dev" "libc++abi-$version-dev")
  else missing+=(libc++-dev libc++abi-dev); fi
}

need_tidy() {
  if [ -n "$(clang_tidy_tool)" ]; then return; fi
  refresh clang-tidy
  if offers "clang-tidy-$CLANG_TIDY_VERSION"; then missing+=("clang-tidy-$CLANG_TIDY_VERSION"); fi
}

need_format() {
  if [ -n "$(clang_format_tool)" ]; then return; fi
  refresh clang-format
  if offers "clang-format-$CLANG_FORMAT_VERSION"; then missing+=("clang-format-$CLANG_FORMAT_VERSION"); fi
}

need_build() {
  need_command g++ g++
  need_command cmake cmake
  need_command ninja ninja-build
  need_header xxhash.h libxxhash-dev
  need_header toml++/toml.h libtomlplusplus-dev
  need_header CLI/CLI.hpp libcli11-dev
  need_header sqlite3.h libsqlite3-dev
  need_libpq
  need_libcurl
  need_boost
}

# Cross compilers are Debian's; a machine that is itself of that kind has no such package and skips those steps.
need_cross() {
  if ! have "$1-g++"; then want_first "g++-$1"; fi
  if ! have "qemu-${1%%-*}-static" && ! have "qemu-${1%%-*}"; then want_first qemu-user-static qemu-user; fi
}

install_missing() {
  if [ ${#missing[@]} = 0 ]; then return; fi
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  refresh
  say "installing: ${missing[*]}"
  no_main_cluster
  # --no-remove: a machine's own packages are never traded for ours.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends --no-remove "${missing[@]}" \
    </dev/null >"$log" 2>&1 || { cat "$log" >&2; die "apt-get could not install: ${missing[*]}"; }
}

log="$(mktemp)"
trap 'rm -f "$log"' EXIT

llvm_version=''
case "$door" in
  demo) need_build ;;
  format) need_format ;;
  bench)
    need_build
    need_command python3 python3
    need_export_checks
    need_postgres
    need_header benchmark/benchmark.h libbenchmark-dev
    need_header absl/random/discrete_distribution.h libabsl-dev
    need_header gsl/gsl_randist.h libgsl-dev
    need_header urcu-qsbr.h liburcu-dev
    ;;
  check | soak)
    need_build
    need_command ccache ccache
    need_command pkg-config pkg-config
    need_command openssl openssl
    need_command python3 python3
    need_header benchmark/benchmark.h libbenchmark-dev
    need_format
    need_clang
    need_tidy
    need_libcxx
    need_command spin spin
    need_export_checks
    need_postgres
    need_command node nodejs
    need_command npm npm
    if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then missing+=(ca-certificates); fi  # npm speaks TLS
    need_cross aarch64-linux-gnu
    if [ "$door" = soak ]; then need_cross s390x-linux-gnu; fi
    ;;
esac
install_missing
unpack_boost

# Catch2 v3 comes apart: unpacked, not installed, since distributions with only v2 would have to give that up for it,
# and since a second processor's copy cannot be installed beside the first.
case "$door" in
  check) scripts/get_catch2.sh native aarch64-linux-gnu ;;
  soak) scripts/get_catch2.sh native aarch64-linux-gnu s390x-linux-gnu ;;
esac
