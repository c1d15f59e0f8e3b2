# shellcheck shell=bash
# Installs Debian packages and selects the Python interpreter.

python=
lists_are_fresh=no

is_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

# Update apt's package lists once per run; without a network the existing lists are used.
refresh_lists() {
    [ "$lists_are_fresh" = no ] || return 0
    lists_are_fresh=yes
    if is_root || [ "$dry_run" = yes ]; then
        run apt-get update -qq || note "apt's package lists could not be updated; using the existing ones"
    fi
}

# candidate NAME: print the version apt would install, if any.
candidate() {
    command -v apt-cache >/dev/null || return 0
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p'
}
apt_knows() { [ -n "$(candidate "$1")" ]; }

# to_download NAME...: print how much apt will download for these packages and what they need.
to_download() {
    LC_ALL=C apt-get install --assume-no --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Need to get \(.*\) of archives.*/ (\1 to download)/p' || true
}

# packages NAME...: install the missing ones; without root only list them.
packages() {
    local missing=() name
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "Not a Debian system; make sure that these are installed: ${missing[*]}"
    elif is_root || [ "$dry_run" = yes ]; then
        refresh_lists
        say "Installing packages: ${missing[*]}$(to_download "${missing[@]}")"
        watched env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
            die "$EX_UNAVAILABLE" "apt could not install ${missing[*]}; without a network, install them beforehand (see docs/raspberry-pi.md, Without a network)"
        remember_packages "${missing[@]}"
    else
        say "Missing packages: ${missing[*]} (install them with: sudo apt-get install ${missing[*]})"
    fi
}

# Recorded for --uninstall, which lists them; see forget_packages.
remember_packages() {
    if [ "$dry_run" = yes ] || [ "$task" != install_service ]; then return 0; fi
    install -d "$PREFIX"
    printf '%s\n' "$@" >>"$PREFIX/packages"
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

makes_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Succeed if the interpreter can build hnswlib, the only library without wheels.
can_build() {
    command -v g++ >/dev/null && "$1" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# find_python CANDIDATE...: set $python to the first recent one that can build, else to the first recent one.
find_python() {
    local candidate
    python=
    for candidate in "$@"; do
        is_recent "$candidate" || continue
        python=${python:-$candidate}
        if makes_environments "$candidate" && can_build "$candidate"; then
            python=$candidate
            return
        fi
    done
}

# choose_python CANDIDATE...: set $python to an interpreter that can create virtual environments.
choose_python() {
    find_python "$@"
    if [ -z "$python" ]; then
        packages python3
        find_python "$@"
    fi
    if [ -z "$python" ]; then
        [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "Python 3.11 or newer is required, as in Debian 12; none was found"
        python=python3
    fi
    makes_environments "$python" || packages python3-venv
}

build_tools() { can_build "$python" || packages g++ python3-dev; }

# provide_hnswlib WHEELHOUSE: install Debian's hnswlib or what is needed to build it, unless there is a wheel of it.
provide_hnswlib() {
    local wheelhouse=$1 known
    if has_system_hnswlib || can_build "$python" || hnswlib_wheel "$CACHE/built" "$wheelhouse" >/dev/null; then return 0; fi
    [ -n "$wheelhouse" ] || refresh_lists
    known=$(candidate python3-hnswlib)
    if [ "$python" = /usr/bin/python3 ] && [ -n "$known" ] && dpkg --compare-versions "$known" ge 0.8; then
        packages python3-hnswlib
    else
        build_tools
    fi
}
