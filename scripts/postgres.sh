#!/usr/bin/env bash
# A PostgreSQL cluster of its own, for tests; in DIR, on a free port of 127.0.0.1 and on a socket in DIR.
#
#   scripts/postgres.sh start DIR             makes and starts one, with a pgbouncer in front where there is one; leaves
#                                             its URLs in DIR/env, and prints them
#   scripts/postgres.sh stop DIR              ends it; DIR stays, and can be deleted
#   scripts/postgres.sh pause|resume DIR      SIGSTOP, SIGCONT to all of its processes
#   scripts/postgres.sh kill DIR              SIGKILL to all of its processes
#   scripts/postgres.sh restart DIR           starts it again after stop or kill, on the same port
#   scripts/postgres.sh run DIR -- COMMAND... start, COMMAND with DIR/env in its environment, stop, delete DIR
#
# PostgreSQL refuses to run as root: then it runs as user postgres, or nobody. Exit status 77: there is no PostgreSQL.
# It signals only processes below the one whose number is in DIR/data/postmaster.pid.
. "$(dirname "$0")/lib.sh"

usage() { die "usage: $0 start|stop|pause|resume|kill|restart DIR, or run DIR -- COMMAND..."; }
if [ $# -lt 2 ]; then usage; fi
verb="$1" dir="$2"
shift 2
data="$dir/data"

find_programs() {
  local folder
  for folder in $(compgen -G '/usr/lib/postgresql/*/bin' | sort -rV) $(compgen -G '/usr/pgsql-*/bin' | sort -rV); do
    if [ -x "$folder/initdb" ]; then bin="$folder"; return; fi
  done
  if have initdb; then bin="$(dirname "$(command -v initdb)")"; return; fi
  echo "no PostgreSQL server on this machine (Debian: postgresql)" >&2
  exit 77
}

# Runs a command as somebody who may run PostgreSQL, in a place where that one may be.
user=''
if [ "$(id -u)" = 0 ]; then user="$(getent passwd postgres >/dev/null && echo postgres || echo nobody)"; fi
as_user() {
  if [ -z "$user" ]; then (cd / && "$@")
  else (cd / && setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env HOME="$dir" "$@"); fi
}
# The postmaster and its children; nothing if it does not run.
processes() {
  local main stat rest parent
  main="$(head -n 1 "$data/postmaster.pid" 2>/dev/null || true)"
  if [ -z "$main" ] || [ ! -d "/proc/$main" ] || [ "$(readlink "/proc/$main/cwd" 2>/dev/null)" != "$data" ]; then return; fi
  echo "$main"
  for stat in /proc/[0-9]*/stat; do
    read -r rest 2>/dev/null <"$stat" || continue
    read -r _ parent _ <<<"${rest##*) }"  # after the name, which may hold anything
    if [ "$parent" = "$main" ]; then stat="${stat#/proc/}"; echo "${stat%/stat}"; fi
  done
}
signal() {
  local pid
  for pid in $(processes); do kill "-$1" "$pid" 2>/dev/null || true; done
}

free_port() {
  local port
  while true; do
    port=$((15000 + RANDOM % 17000))  # below those that the system hands out
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
}

launch() {
  as_user "$bin/pg_ctl" start -s -w -t 60 -D "$data" -l "$dir/server.log" -o "-p $(cat "$dir/port")" \
    </dev/null >>"$dir/control.log" 2>&1
}

make() {
  local password
  mkdir -p "$dir"
  chmod 755 "$dir"
  password="$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')"
  printf '%s\n' "$password" >"$dir/password"
  if [ -n "$user" ]; then chown -R "$user:" "$dir"; fi
  as_user "$bin/initdb" -D "$data" -U canary --pwfile="$dir/password" --auth-local=trust --auth-host=scram-sha-256 \
    -E UTF8 --locale=C --no-sync >"$dir/control.log" 2>&1 || { cat "$dir/control.log" >&2; die "initdb failed"; }
  cat >>"$data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 300
fsync = on
log_min_messages = fatal
CONF
  local tries
  for tries in 1 2 3 4 5; do  # somebody else may take the port meanwhile
    free_port >"$dir/port"
    if launch; then break; fi
    if [ "$tries" = 5 ]; then cat "$dir/control.log" "$dir/server.log" >&2; die "PostgreSQL does not start"; fi
  done
  {
    echo "CANARY_TEST_POSTGRES='postgresql://canary:$password@127.0.0.1:$(cat "$dir/port")/postgres'"
    echo "CANARY_TEST_POSTGRES_CTL='$ROOT/scripts/postgres.sh'"
    echo "CANARY_TEST_POSTGRES_DIR='$dir'"
  } >"$dir/env"
  pool
}

# pgbouncer: three connections for everybody, handed out by the transaction.
pool() {
  local port tries
  if ! have pgbouncer && [ ! -x /usr/sbin/pgbouncer ]; then return; fi
  port="$(free_port)"
  printf '"canary" "%s"\n' "$(cat "$dir/password")" >"$dir/pool.users"
  cat >"$dir/pool.ini" <<CONF
[databases]
* = host=127.0.0.1 port=$(cat "$dir/port")
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $dir/pool.users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
logfile = $dir/pool.log
pidfile = $dir/pool.pid
CONF
  PATH="$PATH:/usr/sbin" as_user pgbouncer -d "$dir/pool.ini" </dev/null >>"$dir/control.log" 2>&1 ||
    { cat "$dir/control.log" >&2; die "pgbouncer does not start"; }
  for tries in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.05
  done
  echo "CANARY_TEST_PGBOUNCER='postgresql://canary:$(cat "$dir/password")@127.0.0.1:$port/postgres'" >>"$dir/env"
}

end_pool() {
  local pid
  pid="$(cat "$dir/pool.pid" 2>/dev/null || true)"
  if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pgbouncer ]; then kill -TERM "$pid" 2>/dev/null || true; fi
}

end() {
  end_pool
  if [ -z "$(processes)" ]; then return; fi
  signal CONT
  as_user "$bin/pg_ctl" stop -s -w -t 30 -m fast -D "$data" </dev/null >>"$dir/control.log" 2>&1 || destroy
}

destroy() {
  local pids pid
  pids="$(processes)"
  for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
  for pid in $pids; do
    while [ -e "/proc/$pid/exe" ]; do sleep 0.02; done  # a dead one that nobody has waited for has none
  done
  rm -f "$data/postmaster.pid" "$dir"/.s.PGSQL.*  # their number may still look alive
}

mkdir -p "$dir"
dir="$(cd "$dir" && pwd)"
data="$dir/data"
case "$verb" in
  start) find_programs; make; cat "$dir/env" ;;
  stop) find_programs; end ;;
  restart) find_programs; launch || { tail "$dir/server.log" >&2; die "PostgreSQL does not start again"; } ;;
  pause) signal STOP ;;
  resume) signal CONT ;;
  kill) destroy ;;
  run)
    if [ "${1:-}" != -- ] || [ $# -lt 2 ]; then usage; fi
    shift
    find_programs
    trap 'end; rm -rf "$dir"' EXIT
    make
    set -a
    . "$dir/env"
    set +a
    status=0
    "$@" || status=$?
    exit "$status"
    ;;
  *) usage ;;
esac
