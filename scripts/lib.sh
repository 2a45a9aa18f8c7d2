# Shared by the scripts; source it. Sets ROOT, goes there, and knows where unpacked dependencies live.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

# A bare root may come without HOME.
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
export CANARY_DEPS_DIR="${CANARY_DEPS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/canary}"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
  BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''
fi

say() { printf '%s\n' "${BOLD}== $*${PLAIN}"; }
die() { printf '%s\n' "${RED}$*${PLAIN}" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Newest first among the versions that we know to work, then whatever the name without a number is.
LLVM_VERSIONS="19 18 17 16 15 14"

# Prints the newest installed program of an LLVM tool (clang++, clang-tidy), or nothing.
llvm_tool() {
  local version
  for version in $LLVM_VERSIONS; do
    if have "$1-$version"; then echo "$1-$version"; return; fi
  done
  if have "$1"; then echo "$1"; fi
}

# What clang-tidy finds differs between its major versions, so exactly one of them counts.
CLANG_TIDY_VERSION=19
clang_tidy_tool() {
  local tool
  for tool in "clang-tidy-$CLANG_TIDY_VERSION" clang-tidy; do
    if have "$tool" && "$tool" --version | grep -q "version $CLANG_TIDY_VERSION\."; then echo "$tool"; return; fi
  done
}

# Formatting differs between clang-format's major versions, so exactly one of them counts.
CLANG_FORMAT_VERSION=14
clang_format_tool() {
  local tool
  for tool in "clang-format-$CLANG_FORMAT_VERSION" clang-format; do
    if have "$tool" && "$tool" --version | grep -q "version $CLANG_FORMAT_VERSION\."; then echo "$tool"; return; fi
  done
}

# Our sources, tracked or not yet; nothing that is built or ignored.
sources() {
  git -c safe.directory="$ROOT" ls-files --cached --others --exclude-standard -- "$@" | sort -u |
    while IFS= read -r file; do if [ -f "$file" ]; then printf '%s\n' "$file"; fi; done
}
