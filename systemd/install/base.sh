# shellcheck shell=bash
# Shared by all parts of install.sh: paths, exit statuses, messages, and the commands that --dry-run only prints.

# tests run parts of this in a file system of their own
readonly ROOT=${CARDEDGE_TEST_ROOT:-}
readonly PREFIX=$ROOT/opt/cardedge
readonly CONFIG=$ROOT/etc/cardedge
readonly STATE=$ROOT/var/lib/cardedge
readonly EX_USAGE=64 EX_UNAVAILABLE=69 EX_FAILED=70 EX_BUSY=75

readonly PROGRESS_S=${CARDEDGE_PROGRESS_S:-10}

dry_run=no

# the service's user must be able to read what root installs, whatever the caller's umask is
umask 022

# Python must not import modules from the caller's directory
export PYTHONSAFEPATH=1

# importing ONNX Runtime would write a device id and usage records to the home directory
export ORT_DISABLE_TELEMETRY=1

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
note() { printf '  %s\n' "$*" >&2; }
die() {
    local status=$1
    shift
    printf 'install.sh: %s\n' "$*" >&2
    exit "$status"
}

# Every change of the system goes through run, copy_tree, put_text or add_line.
run() {
    if [ "$dry_run" = yes ]; then
        printf '  would run:' >&2
        printf ' %q' "$@" >&2
        printf '\n' >&2
    else
        "$@"
    fi
}

# watched COMMAND...: run a command that may take minutes. Its output goes to a log; every 10 s the time and the last line are printed, and after a
# failure the last lines.
watched() {
    local logs status=1 ended last started=$SECONDS
    if [ "$dry_run" = yes ]; then
        run "$@"
        return
    fi
    logs=$(mktemp -d)
    # only the end of the pipe tells that the command has ended: read loses what arrives in the moment in which its time is over
    exec {ended}< <("$@" >"$logs/output" 2>&1 && echo 0 >"$logs/status" || echo $? >"$logs/status")
    until read -r -t "$PROGRESS_S" -u "$ended"; do
        [ $? -gt 128 ] || break # above 128 the time is over
        last=$(grep -v '^WARNING' "$logs/output" | tail -n 1 | tr -d '\r' | cut -c 1-120) || last='' # nothing was printed yet
        note "$((SECONDS - started)) s${last:+: $last}"
    done
    exec {ended}<&-
    if [ -s "$logs/status" ]; then status=$(<"$logs/status"); fi # else it was killed
    [ "$status" = 0 ] || tail -n 20 "$logs/output" | sed 's/^/    /' >&2
    rm -rf "$logs"
    return "$status"
}

# copy_tree FROM TO NAME...: copy files and directories without caches and exported files.
copy_tree() {
    local from=$1 to=$2
    shift 2
    run install -d "$to"
    if [ "$dry_run" = yes ]; then
        note "would copy from $from to $to: $*"
    else
        tar -C "$from" --exclude=__pycache__ --exclude=model-b1.onnx -cf - "$@" | tar -C "$to" --no-same-owner -xf -
    fi
}

# put_text FILE MODE: write standard input to FILE atomically, also across a power cut.
put_text() {
    local text
    text=$(cat)
    if [ "$dry_run" = yes ]; then
        note "would write $1:"
        printf '%s\n' "$text" | sed 's/^/    | /' >&2
        return
    fi
    install -d "$(dirname "$1")"
    printf '%s\n' "$text" >"$1.new"
    chmod "$2" "$1.new"
    sync "$1.new"
    mv -T "$1.new" "$1"
}

# add_line FILE LINE: append LINE unless the file contains it.
add_line() {
    if [ -e "$1" ] && grep -qxF -- "$2" "$1"; then return 0; fi
    if [ "$dry_run" = yes ]; then
        note "would add to $1: $2"
    else
        printf '%s\n' "$2" >>"$1"
        chmod 644 "$1"
    fi
}

# point LINK TARGET: replace a symbolic link atomically; `ln -sf` is not atomic, rename(2) is.
point() {
    run ln -sfn "$2" "$1.new"
    run mv -T "$1.new" "$1"
}

# as_service COMMAND...: run a command as the service's user, who owns $STATE: root must not follow links that this user can set.
as_service() { run runuser --user cardedge -- "$@"; }

is_root() { [ "$(id -u)" -eq 0 ]; }
systemd_runs() { [ -d /run/systemd/system ]; }
need_root() { is_root || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "$1 needs root: run it with sudo"; }

# Held until this process and its children end: pip may outlive a killed run and still write.
lock() {
    if [ "$dry_run" = yes ] || ! is_root; then return 0; fi
    mkdir -p "$ROOT/run/lock"  # a container may lack it
    exec 9>"$ROOT/run/lock/cardedge-install"
    flock --wait 2 9 || die "$EX_BUSY" "another install.sh is running; wait until it has finished, then run this again"
}
