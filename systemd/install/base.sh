# shellcheck shell=bash
# What every part of install.sh stands on: words, exit statuses, changes that a dry run only tells.

# tests look at parts of this in a file system of their own
readonly ROOT=${CARDEDGE_TEST_ROOT:-}
readonly PREFIX=$ROOT/opt/cardedge
readonly CONFIG=$ROOT/etc/cardedge
readonly STATE=$ROOT/var/lib/cardedge
readonly EX_USAGE=64 EX_UNAVAILABLE=69 EX_FAILED=70 EX_BUSY=75

dry_run=no

# ONNX Runtime, imported to see whether it loads, would leave a device id and usage records in the home
export ORT_DISABLE_TELEMETRY=1

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
note() { printf '  %s\n' "$*" >&2; }
die() {
    local status=$1
    shift
    printf 'install.sh: %s\n' "$*" >&2
    exit "$status"
}

# Every change of this machine goes through run, copy_tree, put_text or add_line.
run() {
    if [ "$dry_run" = yes ]; then
        printf '  would run:' >&2
        printf ' %q' "$@" >&2
        printf '\n' >&2
    else
        "$@"
    fi
}

# copy_tree FROM TO NAME...: copy files and folders without what Python and exports leave behind.
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

# put_text FILE MODE: write standard input to FILE, whole or not at all, also when the power is cut.
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

# add_line FILE LINE: append a line that is not there yet.
add_line() {
    if [ -e "$1" ] && grep -qxF -- "$2" "$1"; then return 0; fi
    if [ "$dry_run" = yes ]; then
        note "would add to $1: $2"
    else
        printf '%s\n' "$2" >>"$1"
        chmod 644 "$1"
    fi
}

# point LINK TARGET: let a symbolic link name TARGET; rename(2) is atomic, `ln -sf` is not.
point() {
    run ln -sfn "$2" "$1.new"
    run mv -T "$1.new" "$1"
}

is_root() { [ "$(id -u)" -eq 0 ]; }
systemd_runs() { [ -d /run/systemd/system ]; }
need_root() { is_root || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "$1 needs root: run it with sudo"; }

# Held until we end, by our children too: a pip that outlived a killed run still writes.
lock() {
    if [ "$dry_run" = yes ] || ! is_root; then return 0; fi
    exec 9>"$ROOT/run/lock/cardedge-install"
    flock --wait 2 9 || die "$EX_BUSY" "another install.sh is at work here; wait until it has ended, then run this again"
}
