#!/usr/bin/env bash
# Sets CardEdge up on Debian, Ubuntu or Raspberry Pi OS with Python 3.11 or newer.
#   ./install.sh --demo        private environment, broker, film, daemon: events on the screen, nothing installed into the system but packages
#   ./install.sh --test        everything the checks need, then all checks
#   sudo ./install.sh          installs the service
#   sudo ./install.sh --kiosk    shows the scanner's page full screen on this machine's screen
#   sudo ./install.sh --allow-technician KEY.pub     lets the owner of an SSH key push index bundles
# Each step looks first whether its work is already done, so a second run repairs and never overwrites settings.
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly VENV="$HERE/.venv"
readonly PREFIX=/opt/cardedge
readonly SHARE=/usr/share/cardedge
readonly STATE=/var/lib/cardedge
readonly CONFIG=/etc/cardedge
readonly EX_USAGE=64 EX_UNAVAILABLE=69

dry_run=no
python=

usage() {
    cat <<'TEXT'
Usage: ./install.sh [--demo | --test | --kiosk | --allow-technician KEY.pub | --uninstall [--purge]] [--dry-run]

  (nothing)      install the service: user, program, network, sample cards, settings, unit; needs root
  --demo         play a film of drawn cards to a scanner on this machine and check its answers (under a minute)
  --test         install what the checks need and run them all
  --kiosk        show the scanner's page full screen on this machine's screen, in the place of a login or desktop; needs root
  --allow-technician KEY.pub
                 let the owner of this SSH key sign index bundles and push them over SSH, and nothing else; needs root
  --uninstall    stop and remove the service; settings, cards and events stay
  --purge        with --uninstall: remove those too
  --dry-run      say what would be done, do nothing
  --help         this text

Root is needed for the service, and for packages that are missing (python3-venv, g++, mosquitto ...).
The demo runs without root when Python and a C++ compiler are there.
TEXT
}

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'install.sh: %s\n' "$2" >&2; exit "$1"; }

# Every change of this machine goes through here.
run() {
    if [ "$dry_run" = yes ]; then
        printf '  would run:' >&2; printf ' %q' "$@" >&2; printf '\n' >&2
    else
        "$@"
    fi
}

is_root() { [ "$(id -u)" -eq 0 ]; }
systemd_runs() { [ -d /run/systemd/system ]; }

need_root() { is_root || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "$1 needs root: run it with sudo"; }

# packages NAME...: install Debian packages that are missing; without root say which and go on.
packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "Not a Debian system; please make sure of: ${missing[*]}"
    elif is_root || [ "$dry_run" = yes ]; then
        say "Installing packages: ${missing[*]}"
        run apt-get update -qq
        run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        say "Missing packages: ${missing[*]} (install them with: sudo apt-get install ${missing[*]})"
    fi
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Can it make environments and build the one library without wheels (hnswlib)?
is_complete() {
    "$1" - <<'PYTHON' 2>/dev/null
import ensurepip, os, sysconfig
raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
PYTHON
}

# find_python CANDIDATE...: the first complete one of those recent enough, else the first recent enough.
find_python() {
    local candidate
    python=
    for candidate in "$@"; do
        if is_recent "$candidate"; then
            python=${python:-$candidate}
            if is_complete "$candidate"; then python=$candidate; return; fi
        fi
    done
}

# choose_python CANDIDATE...: settle $python and install what it lacks.
choose_python() {
    find_python "$@"
    if [ -z "$python" ]; then
        packages python3
        find_python "$@"
    fi
    if [ -z "$python" ]; then
        [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "Python 3.11 or newer is needed, as in Debian 12; this system has none"
        python=python3
    fi
    is_complete "$python" || packages python3-venv python3-dev
    command -v g++ >/dev/null || packages g++
}

# environment DIR REQUIREMENT MODE OPTION...: make the environment and install this version into it, unless just that was done before.
# MODE is --editable for a clone that is worked in, --upgrade for a copy.
environment() {
    local directory=$1 requirement=$2 mode=$3 stamp
    shift 3
    stamp="$directory/.installed-$(cat "$HERE/pyproject.toml" <(printf '%s' "$requirement") | sha256sum | cut -c1-16)"
    [ ! -e "$stamp" ] || return 0
    say "Making a private Python environment in $directory (a few minutes the first time)"
    [ -x "$directory/bin/python" ] || run "$python" -m venv "$@" "$directory"
    run "$directory/bin/python" -m pip install --quiet "$mode" "$requirement"
    [ "$dry_run" = yes ] || touch "$stamp"
}

demo() {
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    environment "$VENV" "${HERE}[demo,workstation]" --editable
    # the demo prefers Mosquitto; where it is neither running nor installable, it brings its own small broker and says so
    if is_root; then packages mosquitto; fi
    cd "$HERE"
    run "$VENV/bin/python" -m edge demo
}

check() {
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    packages chromium mosquitto openssh-client openssh-server openssl procps shellcheck systemd
    environment "$VENV" "${HERE}[test]" --editable
    cd "$HERE"
    run env PATH="$VENV/bin:/usr/sbin:$PATH" bash "$HERE/.ci/checks"
}

install_service() {
    need_root "installing the service"
    # the system's own Python: the service's user can reach no other, and camera and NPU bindings from packages belong to it
    choose_python /usr/bin/python3
    packages mosquitto openssh-client procps
    environment "$PREFIX" "$HERE" --upgrade --system-site-packages
    # a changed clone of the same version must still replace what is there
    run "$PREFIX/bin/python" -m pip install --quiet --no-deps --force-reinstall "$HERE"
    run install -d "$SHARE"
    run cp -rT "$HERE/hef" "$SHARE/hef"
    run install -D -m 644 "$HERE/systemd/cardedge.sysusers" /usr/lib/sysusers.d/cardedge.conf
    run install -D -m 644 "$HERE/systemd/cardedge.tmpfiles" /usr/lib/tmpfiles.d/cardedge.conf
    run systemd-sysusers /usr/lib/sysusers.d/cardedge.conf
    run systemd-tmpfiles --create /usr/lib/tmpfiles.d/cardedge.conf
    [ -e "$CONFIG/cardedge.toml" ] || run install -D -m 644 "$HERE/systemd/cardedge.toml" "$CONFIG/cardedge.toml"
    if [ ! -e "$STATE/index/current" ]; then
        say "Putting in the sample cards; push your own index when you have one"
        run "$PREFIX/bin/cardedge" index activate "$HERE/index/sample" --index "$STATE/index"
        run chown -R cardedge:cardedge "$STATE/index"
    fi
    run install -D -m 644 "$HERE/systemd/cardedge.service" /etc/systemd/system/cardedge.service
    run ln -sfn "$PREFIX/bin/cardedge" /usr/local/bin/cardedge
    if systemd_runs || [ "$dry_run" = yes ]; then
        run systemctl daemon-reload
        run systemctl enable cardedge.service
        run systemctl restart cardedge.service
    fi
    say "Installed. Next: name your camera and broker in $CONFIG/cardedge.toml, then: sudo systemctl restart cardedge; cardedge check"
}

kiosk() {
    need_root "showing the page on the screen"
    [ -e /etc/systemd/system/cardedge.service ] || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "no scanner here; run sudo ./install.sh first"
    packages cage chromium
    run install -D -m 644 "$HERE/systemd/cardedge-kiosk.sysusers" /usr/lib/sysusers.d/cardedge-kiosk.conf
    run systemd-sysusers /usr/lib/sysusers.d/cardedge-kiosk.conf
    run install -D -m 644 "$HERE/systemd/cardedge-kiosk.service" /etc/systemd/system/cardedge-kiosk.service
    if systemd_runs || [ "$dry_run" = yes ]; then
        run systemctl daemon-reload
        run systemctl enable cardedge-kiosk.service
        run systemctl restart --no-block cardedge-kiosk.service
    fi
    grep -Eq '^\[http\]' "$CONFIG/cardedge.toml" 2>/dev/null || say "The page is off: add [http] with enabled = true to $CONFIG/cardedge.toml, then: sudo systemctl restart cardedge"
    say "The page appears on the screen. To give the screen back: sudo systemctl disable --now cardedge-kiosk"
}

# add_line FILE LINE: append a line that is not there yet.
add_line() {
    if [ -e "$1" ] && grep -qxF -- "$2" "$1"; then return 0; fi
    if [ "$dry_run" = yes ]; then
        printf '  would add to %s: %s\n' "$1" "$2" >&2
    else
        printf '%s\n' "$2" >>"$1"
        chmod 644 "$1"
    fi
}

allow_technician() {
    local type key comment name
    need_root "letting a technician in"
    [ -r "$1" ] || die "$EX_USAGE" "$1: no such public key"
    packages openssh-server openssh-client
    ssh-keygen -lf "$1" >/dev/null 2>&1 || die "$EX_USAGE" "$1: no SSH public key; name the file that ends in .pub"
    id cardedge >/dev/null 2>&1 || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "no user cardedge; run sudo ./install.sh first"
    read -r type key comment <"$1" || [ -n "$key" ]
    case $type in ssh-* | sk-* | ecdsa-*) ;; *) die "$EX_USAGE" "$1: a private key; name the file that ends in .pub" ;; esac
    name=$(printf '%s' "${comment:-technician}" | tr -cd 'A-Za-z0-9@._-')
    say "Letting $name sign and push index bundles"
    run install -d "$CONFIG"
    add_line "$CONFIG/allowed_signers" "$name namespaces=\"cardedge-index\" $type $key"
    add_line "$CONFIG/authorized_keys" "restrict,command=\"/usr/local/bin/cardedge index receive --technician $name\" $type $key $name"
    run install -D -m 644 "$HERE/systemd/sshd-cardedge.conf" /etc/ssh/sshd_config.d/cardedge.conf
    # the server runs even a forced command through the user's shell, and nologin would end it
    run usermod --shell /bin/sh cardedge
    if systemd_runs || [ "$dry_run" = yes ]; then run systemctl reload ssh; fi
    say "Done. From the workstation: python -m tools.push_index BUNDLE cardedge@$(uname -n)"
}

uninstall() {
    need_root "uninstalling"
    if systemd_runs && [ -e /etc/systemd/system/cardedge.service ]; then
        run systemctl disable --now cardedge.service || true
    fi
    if systemd_runs && [ -e /etc/systemd/system/cardedge-kiosk.service ]; then
        run systemctl disable --now cardedge-kiosk.service || true
    fi
    run rm -rf /etc/systemd/system/cardedge-kiosk.service /usr/lib/sysusers.d/cardedge-kiosk.conf
    run rm -rf /etc/ssh/sshd_config.d/cardedge.conf /etc/systemd/system/cardedge.service "$PREFIX" "$SHARE" /usr/local/bin/cardedge \
        /usr/lib/sysusers.d/cardedge.conf /usr/lib/tmpfiles.d/cardedge.conf
    systemd_runs && run systemctl daemon-reload
    if [ "$1" = yes ]; then
        run rm -rf "$STATE" "$STATE-kiosk" "$CONFIG"
        if id cardedge-kiosk >/dev/null 2>&1; then run userdel cardedge-kiosk; fi
        if id cardedge >/dev/null 2>&1; then run userdel cardedge; fi
        say "Removed, with settings, cards and events."
    else
        say "Removed. Settings ($CONFIG) and state ($STATE) stay; --purge removes them too."
    fi
}

main() {
    local task=install_service purge=no key=
    while [ $# -gt 0 ]; do
        case $1 in
            --demo) task=demo ;;
            --test) task=check ;;
            --kiosk) task=kiosk ;;
            --allow-technician)
                [ $# -gt 1 ] || die "$EX_USAGE" "--allow-technician needs the file of a public key"
                task=allow_technician key=$2
                shift
                ;;
            --uninstall) task=uninstall ;;
            --purge) purge=yes ;;
            --dry-run) dry_run=yes ;;
            --help | -h) usage; exit 0 ;;
            *) usage >&2; die "$EX_USAGE" "unknown option: $1" ;;
        esac
        shift
    done
    [ "$purge" = no ] || [ "$task" = uninstall ] || die "$EX_USAGE" "--purge goes with --uninstall"
    case $task in
        uninstall) uninstall "$purge" ;;
        allow_technician) allow_technician "$key" ;;
        *) "$task" ;;
    esac
}

main "$@"
