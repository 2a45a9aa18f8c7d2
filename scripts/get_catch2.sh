#!/usr/bin/env bash
# Unpacks Debian's build of Catch2 v3 into CANARY_DEPS_DIR:  scripts/get_catch2.sh native|TRIPLET...
# The package comes from the machine's own apt sources, else from the backports suite on the same mirror. apt gets lists
# and a cache of its own for this, so that nothing on the machine changes and no root is needed.
# A processor for which there is none is reported and left out; without the native one it fails.
. "$(dirname "$0")/lib.sh"

deb_arch() {
  case "$1" in
    x86_64-linux-gnu) echo amd64 ;;
    aarch64-linux-gnu) echo arm64 ;;
    s390x-linux-gnu) echo s390x ;;
    *) die "get_catch2.sh: no Debian architecture known for $1" ;;
  esac
}

# The machine's sources as deb822 stanzas, of either format, embedded keys included.
own_sources() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    if [ -e "$file" ]; then
      awk '$1 == "deb" {
        options = ""; first = 2
        if ($2 ~ /^\[/) { while (first <= NF) { options = options " " $first; if ($(first++) ~ /\]$/) break } }
        print "Types: deb"; print "URIs: " $first; print "Suites: " $(first + 1)
        line = "Components:"; for (i = first + 2; i <= NF && $i !~ /^#/; i++) line = line " " $i
        print line
        gsub(/[][]/, "", options); n = split(options, option, " ")
        for (i = 1; i <= n; i++) {
          if (option[i] ~ /^signed-by=/) print "Signed-By: " substr(option[i], 11)
          if (option[i] ~ /^trusted=/) print "Trusted: " substr(option[i], 9)
        }
        print ""
      }' "$file"
    fi
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    if [ -e "$file" ]; then grep -v '^#' "$file"; echo; fi
  done
}

# own_sources, with the release's suite made into SUITE and everything else left out. Architectures: is dropped, since we
# ask for other ones.
sources_for() {
  own_sources | awk -v release="$VERSION_CODENAME" -v suite="$1" '
    BEGIN { RS = ""; FS = "\n" }
    $0 !~ /(^|\n)[Ee]nabled: *no/ && $0 ~ "(^|\n)Suites:([^\n]* )?" release "([ \n]|$)" {
      keep = 1
      for (i = 1; i <= NF; i++) {
        if ($i ~ /^[A-Za-z-]+:/) keep = $i !~ /^Architectures:/
        if ($i ~ /^Suites:/) print "Suites: " suite
        else if (keep) print $i
      }
      print ""
    }'
}

# Runs apt-get for architecture $1 on the sources in $work/parts, with state of its own.
private_apt() {
  local arch="$1"
  shift
  local o=(-qq -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts" -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts="$work/none" -o APT::Architecture="$arch" -o APT::Architectures::="$arch"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Get::List-Cleanup=false)
  if [ "$1" = policy ]; then apt-cache "${o[@]}" "$@"; else apt-get "${o[@]}" "$@"; fi
}

# Downloads and unpacks for one architecture from one suite, if a v3 is there.
try_suite() {
  local arch="$1" suite="$2" target="$3" package version
  rm -rf "$work"
  mkdir -p "$work"/{state/lists/partial,cache/archives/partial,parts,none,debs}
  : >"$work/status"
  sources_for "$suite" >"$work/parts/own.sources"
  [ -s "$work/parts/own.sources" ] || return 1
  private_apt "$arch" update 2>"$work/log" || true
  for package in libcatch2-dev catch2; do
    version="$(private_apt "$arch" policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: //p')"
    case "$version" in
      3.*)
        (cd "$work/debs" && private_apt "$arch" download "$package" 2>>"$work/log") || return 1
        mkdir -p "$work/root"
        dpkg-deb -x "$work"/debs/*.deb "$work/root" || return 1
        [ -e "$work/root/usr/include/catch2/catch_all.hpp" ] || return 1
        rm -rf "$target"
        mkdir -p "${target%/*}"
        mv "$work/root" "$target"
        echo "Catch2 $version for $arch from $suite, unpacked into $target"
        return 0
        ;;
    esac
  done
  return 1
}

native="$(${CXX:-g++} -print-multiarch 2>/dev/null || true)"
if [ -z "$native" ]; then native="$(uname -m)-linux-gnu"; fi
VERSION_CODENAME=''
if [ -e /etc/os-release ]; then . /etc/os-release; fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

for triplet in "$@"; do
  wanted="$triplet"
  if [ "$triplet" = native ]; then wanted="$native"; fi
  target="$CANARY_DEPS_DIR/catch2-$wanted"
  if [ -e "$target/usr/include/catch2/catch_all.hpp" ]; then continue; fi
  # An installed v3 will do for this machine's own processor.
  if [ "$wanted" = "$native" ] && { [ -e /usr/include/catch2/catch_all.hpp ] || [ -e /usr/local/include/catch2/catch_all.hpp ]; }; then
    continue
  fi
  have apt-get || die "Catch2 v3 is missing and this machine has no apt-get: please install it by hand"
  arch="$(deb_arch "$wanted")"
  if ! try_suite "$arch" "$VERSION_CODENAME" "$target" && ! try_suite "$arch" "$VERSION_CODENAME-backports" "$target"; then
    if [ -s "$work/log" ]; then cat "$work/log" >&2; fi
    message="no Catch2 v3 for $wanted in $VERSION_CODENAME or $VERSION_CODENAME-backports on this machine's mirrors"
    if [ "$wanted" = "$native" ]; then die "$message"; fi
    echo "$message: tests for that processor will be skipped" >&2
  fi
done
