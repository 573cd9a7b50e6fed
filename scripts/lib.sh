# What scripts/test and scripts/bench share; to be sourced, at the root of the tree.
#
# Steps that can be stopped at once, programs found or installed, and a PostgreSQL server of one's
# own. It listens on a unix socket in a directory of its own, so any number of runs go side by side,
# and is gone afterwards.

readonly OLDEST_POSTGRES=15

# Call it first: whatever happens, nothing of the run is left behind.
clean_up_at_the_end() {
    trap stop_all EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

say() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
}

die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# Runs a command in a process group of its own. Bash holds a signal back until the command in the
# foreground ends, so a long one waits in the background, where `stop_all` can reach it at once.
step() {
    say "\$ $*"
    set -m
    "$@" </dev/null &
    running=$!
    set +m
    local status=0
    wait "$running" || status=$?
    running=
    [ "$status" -eq 0 ] || say "failed with exit code $status: $*"
    return "$status"
}

# --- what must be there ------------------------------------------------------------------------

find_cargo() {
    command -v cargo >/dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    command -v cargo >/dev/null || die "cargo is missing: install Rust from https://rustup.rs"
}

find_c_compiler() {
    command -v "${CC:-cc}" >/dev/null || install_packages "a C compiler" gcc libc6-dev
    command -v "${CC:-cc}" >/dev/null || die "there is still no C compiler \`${CC:-cc}\`"
}

find_postgres() {
    postgres_bin=$(newest_postgres)
    [ -n "$postgres_bin" ] || install_packages "PostgreSQL $OLDEST_POSTGRES or newer" postgresql
    postgres_bin=$(newest_postgres)
    [ -n "$postgres_bin" ] || die "there is still no PostgreSQL $OLDEST_POSTGRES or newer: set TEST_POSTGRES_URL"
}

# Prints the directory of the newest server that is new enough. Debian keeps servers outside PATH.
newest_postgres() {
    local initdb version newest=$OLDEST_POSTGRES found=
    for initdb in "$(command -v initdb)" /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; do
        [ -x "$initdb" ] || continue
        initdb=$(readlink -f "$initdb")
        version=$("$initdb" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        if [ "$version" -ge "$newest" ]; then
            newest=$version found=$(dirname "$initdb")
        fi
    done
    printf '%s' "$found"
}

install_packages() {
    local what=$1
    shift
    local install=(install -y --no-install-recommends "$@")
    command -v apt-get >/dev/null || die "$what is missing: install it with your package manager"
    [ "$(id -u)" -eq 0 ] ||
        die "$what is missing: run \`sudo apt-get update && sudo apt-get ${install[*]}\`, then this again"
    say "$what is missing and is being installed"
    step apt-get -o DPkg::Lock::Timeout=300 update
    DEBIAN_FRONTEND=noninteractive step apt-get -o DPkg::Lock::Timeout=300 "${install[@]}"
}

# --- the PostgreSQL of this run ----------------------------------------------------------------

# Directly under /tmp: a socket's path may have no more than 107 bytes, and the server's user must
# be able to come by. Only that user and root can enter, so `trust` trusts nobody else.
#
#   start_postgres DATABASE <<<"SETTINGS"       sets `server` and `postgres_url`
start_postgres() {
    local database=$1
    unset "${!PG@}" # Settings of another server must not reach this one or its clients.
    server=$(mktemp -d "/tmp/quittance.XXXXXX")
    [ "$(id -u)" -ne 0 ] || chown "$(server_user)": "$server"

    say "starting PostgreSQL of $postgres_bin in $server"
    as_server_user "$postgres_bin/initdb" --pgdata="$server/data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$server/setup.log" 2>&1 ||
        die "initdb failed: $(cat "$server/setup.log")"
    cat >>"$server/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$server'
		max_connections = 100
	CONF
    cat >>"$server/data/postgresql.conf"
    echo "create database $database" |
        as_server_user "$postgres_bin/postgres" --single -D "$server/data" postgres >>"$server/setup.log" 2>&1 ||
        die "no database could be made: $(cat "$server/setup.log")"
    as_server_user "$postgres_bin/pg_ctl" start --pgdata="$server/data" --log="$server/server.log" --wait --silent ||
        die "PostgreSQL did not start: $(cat "$server/server.log")"
    postgres_url="postgres:///$database?host=$server&user=postgres"
}

stop_all() {
    trap '' HUP INT TERM # A second Ctrl-C must not leave the server behind.
    if [ -n "${running-}" ]; then
        kill -TERM -- "-$running" 2>/dev/null || true
        wait "$running" || true
    fi
    if [ -n "${server-}" ]; then
        as_server_user "$postgres_bin/pg_ctl" stop --pgdata="$server/data" --mode=immediate --silent >/dev/null 2>&1 ||
            true # It may not have been started yet.
        rm -rf "$server"
    fi
}

# PostgreSQL refuses to run as root.
server_user() {
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# Runs a command of the server where its user may be: our own directory can be closed to it.
as_server_user() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && runuser -u "$(server_user)" -- "$@")
    else
        "$@"
    fi
}
