#!/usr/bin/env bash
# For developers: runs one door in a fresh Debian with nothing but git and make added. Needs root, debootstrap, network.
#
#     scripts/bare_root.sh [DOOR [FOLDER]]      DOOR: check unless named; FOLDER: a new one under /tmp, removed afterwards,
#                                               unless named: a named folder is kept, and used again as it stands
#     WORKTREE=1 ...                            takes the working tree as it stands instead of cloning what is committed
#     SUITE=trixie ...                          another release of the same mirror
#     CANARY_SHARED_DATA=DIR ...                puts DIR beside the clone, where the tests look for real traces
#
# Release and mirror are this machine's own. Mounts live in a mount namespace of their own and end with it.
. "$(dirname "$0")/lib.sh"

door="${1:-check}"
keep="${2:-}"
[ "$(id -u)" = 0 ] || die "debootstrap and chroot need root"
have debootstrap || die "please install debootstrap"
. /etc/os-release
mirror="$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
  sed -n "s/^$VERSION_CODENAME //p" | head -n 1)"
suite="${SUITE:-$VERSION_CODENAME}"
[ -n "$mirror" ] || die "apt knows no mirror for $VERSION_CODENAME"

root="${keep:-$(mktemp -d /tmp/canary-bare.XXXXXX)}"
if [ -z "$keep" ]; then trap 'rm -rf --one-file-system "$root"' EXIT; fi

if [ ! -e "$root/usr/bin/git" ]; then
  say "debootstrap $suite into $root"
  mkdir -p "$root"
  chmod 755 "$root"
  debootstrap --variant=minbase --include=git,make "$suite" "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 30 "$root.log"; die "debootstrap failed"; }
  rm -f "$root.log"
  # How this machine reaches its mirror: proxies, certificates, clock.
  apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/90host" || true
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$root/etc/host-ca.crt"; fi

rm -rf "$root/root/canary" "$root/root/shared"
if [ -n "${WORKTREE:-}" ]; then
  mkdir -p "$root/root/canary"
  sources | tar -c -T - | tar -x -C "$root/root/canary"
  git init -q "$root/root/canary"
else
  git clone -q "$ROOT" "$root/root/canary"
fi
if [ -n "${CANARY_SHARED_DATA:-}" ]; then
  mkdir -p "$root/root/shared"
  cp -a "$CANARY_SHARED_DATA" "$root/root/shared/data"
fi

passed_on=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CI=true TERM=dumb
  NODE_EXTRA_CA_CERTS=/etc/host-ca.crt)
for name in $(compgen -e | grep -iE '^(https?|no)_proxy$|^npm_config_registry$' || true); do
  passed_on+=("$name=${!name}")
done

say "make $door in $root"
status=0
unshare --mount --pid --fork --kill-child env -i ROOT="$root" DOOR="$door" /bin/bash -c '
  PATH=/usr/sbin:/usr/bin:/sbin:/bin
  set -e
  mount --make-rprivate /
  mount -t proc proc "$ROOT/proc"
  mkdir -p "$ROOT/dev/pts" "$ROOT/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
  mount -t tmpfs tmpfs "$ROOT/dev/shm"
  exec chroot "$ROOT" /usr/bin/env -i "$@" make -C /root/canary "$DOOR"
' bash "${passed_on[@]}" </dev/null || status=$?
echo "make $door in a bare $suite: exit status $status"
exit "$status"
