#!/usr/bin/env bash
# Sets CardEdge up on Debian, Ubuntu or Raspberry Pi OS with Python 3.11 or newer; ./install.sh --help says how. The parts are in systemd/install/.
# Each step looks first whether its work is already done: a second run repairs, goes on after a cut, and never overwrites settings.
# shellcheck disable=SC2317 # the tasks are called by their names, at the end
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly VENV="$HERE/.venv"

# shellcheck source=systemd/install/base.sh
source "$HERE/systemd/install/base.sh"
# shellcheck source=systemd/install/packages.sh
source "$HERE/systemd/install/packages.sh"
# shellcheck source=systemd/install/hardware.sh
source "$HERE/systemd/install/hardware.sh"
# shellcheck source=systemd/install/versions.sh
source "$HERE/systemd/install/versions.sh"
# shellcheck source=systemd/install/service.sh
source "$HERE/systemd/install/service.sh"
# shellcheck source=systemd/install/wheels.sh
source "$HERE/systemd/install/wheels.sh"
# shellcheck source=systemd/install/people.sh
source "$HERE/systemd/install/people.sh"
# shellcheck source=systemd/install/removal.sh
source "$HERE/systemd/install/removal.sh"

task=install_service
purge=no no_start=no with_broker=yes
wheelhouse='' target='' camera='' cards='' operand=''

usage() {
    cat <<'TEXT'
Usage: ./install.sh [TASK] [OPTION...]

  (nothing)      install or upgrade the service; needs root. A version that does not become ready gives way to the one before
  --rollback     let the version before serve again; needs root
  --uninstall    stop and remove the service; settings, cards and events stay
  --purge        with --uninstall: remove those too, with the user, the passwords in /etc/credstore and the broker's file
  --kiosk        show the scanner's page full screen on this machine's screen, in the place of a login or desktop; needs root
  --allow-technician KEY.pub
                 let the owner of this SSH key sign index bundles and push them over SSH, and nothing else; needs root
  --make-wheelhouse DIR [--for bookworm|trixie[/ARCH]]
                 gather the Python libraries for machines without network: like this one, or for a Raspberry Pi (ARCH is aarch64)
  --demo         play a film of drawn cards to a scanner on this machine and check its answers (under a minute)
  --test         install what the checks need and run them all
  --test-board   ask the Hailo board of this machine whether it does what the scanner relies on
  --help         this text

Options for installing:
  --wheelhouse DIR    take the Python libraries from there, nothing from the network
  --cards BUNDLE      serve these cards: a bundle's folder, or the id of one on the device; otherwise a first installation gets sample cards
  --camera KIND       picamera2 or v4l2, instead of what is found; for the first settings file
  --no-broker         leave Mosquitto alone: the broker is elsewhere
  --no-start          enable the service and leave starting it to the next start of the machine

  --dry-run           say what would be done, do nothing

Exit status: 0 done, 64 wrong command line, 69 something is missing, 70 the new version did not work (the one before serves), 75 another
install.sh is at work. The demo runs without root when Python and a C++ compiler are there.
TEXT
}

# environment DIR REQUIREMENT OPTION...: make an environment of the clone's own and install the clone into it, unless just that was done before.
# OPTIONs are those of venv.
environment() {
    local directory=$1 requirement=$2 stamp
    shift 2
    stamp="$directory/.installed-$(cat "$HERE/pyproject.toml" <(printf '%s' "$requirement") | sha256sum | cut -c1-16)"
    [ ! -e "$stamp" ] || return 0
    say "Making a private Python environment in $directory (a few minutes the first time)"
    [ -x "$directory/bin/python" ] || run "$python" -m venv "$@" "$directory"
    if [ $# -gt 0 ]; then constraints; fi | put_text "$directory/constraints.txt" 644
    run "$directory/bin/python" -m pip install --quiet --constraint "$directory/constraints.txt" --editable "$requirement"
    [ "$dry_run" = yes ] || touch "$stamp"
}

demo() {
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    build_tools
    environment "$VENV" "${HERE}[demo,workstation]"
    # the demo prefers Mosquitto; where it is neither running nor installable, it brings its own small broker and says so
    if is_root; then packages mosquitto; fi
    cd "$HERE"
    run "$VENV/bin/python" -m edge demo
}

check() {
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    build_tools
    packages chromium mmdebstrap mosquitto openssh-client openssh-server openssl procps shellcheck systemd systemd-container
    environment "$VENV" "${HERE}[test]"
    cd "$HERE"
    run env PATH="$VENV/bin:/usr/sbin:$PATH" bash "$HERE/.ci/checks"
}

# The contract of the network adapter, on the board: it must be nobody's meanwhile.
board_test() {
    local directory="$HERE/.venv-board"
    if systemd_runs && systemctl is-active --quiet cardedge.service; then
        die "$EX_UNAVAILABLE" "the service holds the NPU: sudo systemctl stop cardedge, then run this again"
    fi
    choose_python /usr/bin/python3
    provide_hnswlib ""
    environment "$directory" "${HERE}[board]" --system-site-packages
    cd "$HERE"
    run "$directory/bin/python" -m pytest -q -rs -m hardware tests/contract
}

install_service() {
    local directory
    need_root "installing the service"
    lock
    # the system's own Python: the service's user can reach no other, and camera and NPU bindings from packages belong to it
    choose_python /usr/bin/python3
    packages openssh-client procps
    provide_hnswlib "$wheelhouse"
    provide_hailo
    provide_camera "$camera"
    directory="$VERSIONS/$(version_id)"
    build "$directory" "$wheelhouse"
    user_and_folders "$directory"
    write_settings "$directory" "$camera"
    [ "$with_broker" = no ] || broker
    switch "$directory"
    prune
    what_next
}

rollback() {
    local old
    need_root "going back"
    lock
    old=$(previous)
    [ -n "$old" ] || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "there is no version to go back to"
    switch "$VERSIONS/$old"
    say "$old serves; the one before is kept: --rollback again returns to it"
}

# switch VERSION: let it serve after its self-test.
switch() {
    local bundle
    bundle=$(cards_for "$1" "$cards")
    [ -z "$cards" ] || [ -d "$(bundle_folder "$cards")" ] || die "$EX_USAGE" "--cards $cards: no such folder, and no bundle of that id on this device"
    if ! self_test "$1" "$(bundle_folder "$bundle")"; then
        die "$EX_FAILED" "version $(basename "$1") failed its self-test; nothing was switched$(serves_on)"
    fi
    serve "$1" "$bundle"
}

# what_next: the steps that are left, fitted to what is here.
what_next() {
    if [ "$dry_run" = yes ]; then say "A dry run: nothing was changed. After an installation it would say:"; else say "Installed: $(serving) serves."; fi
    if needs_reboot; then note "The NPU's driver is new: reboot now, the service starts by itself then"; fi
    if ! grep -qsE '^kind *=' "$CONFIG/cardedge.toml"; then note "No camera was found: connect one and name it under [camera] in $CONFIG/cardedge.toml, then: sudo systemctl restart cardedge"; fi
    pcie_hint
    memory_hint
    note "See what works and what does not:     sudo -u cardedge cardedge check"
    note "Lay a card under the camera and look:  mosquitto_sub -t 'cardedge/+/event' -v   (package mosquitto-clients)"
    note "Put in cards of your own, the page, Home Assistant: README.md; NPU, camera, upgrades: docs/raspberry-pi.md"
}

value_of() { [ -n "${2:-}" ] || die "$EX_USAGE" "$1 needs a value; see --help"; }

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --demo) task=demo ;;
            --test) task=check ;;
            --test-board) task=board_test ;;
            --kiosk) task=kiosk ;;
            --rollback) task=rollback ;;
            --uninstall) task=uninstall ;;
            --allow-technician) value_of "$@" && task=allow_technician operand=$2 && shift ;;
            --make-wheelhouse) value_of "$@" && task=make_wheelhouse operand=$2 && shift ;;
            --for) value_of "$@" && target=$2 && shift ;;
            --wheelhouse) value_of "$@" && wheelhouse=$2 && shift ;;
            --cards) value_of "$@" && cards=$2 && shift ;;
            --camera) value_of "$@" && camera=$2 && shift ;;
            --no-broker) with_broker=no ;;
            --no-start) no_start=yes ;;
            --purge) purge=yes ;;
            --dry-run) dry_run=yes ;;
            --help | -h) usage; exit 0 ;;
            *) usage >&2; die "$EX_USAGE" "unknown option: $1" ;;
        esac
        shift
    done
}

# What goes together.
check_arguments() {
    [ "$purge" = no ] || [ "$task" = uninstall ] || die "$EX_USAGE" "--purge goes with --uninstall"
    [ -z "$target" ] || [ "$task" = make_wheelhouse ] || die "$EX_USAGE" "--for goes with --make-wheelhouse"
    case $camera in '' | picamera2 | v4l2) ;; *) die "$EX_USAGE" "--camera $camera: picamera2 or v4l2; others are named in the settings file" ;; esac
    case $target in '' | bookworm | trixie | bookworm/?* | trixie/?*) ;; *) die "$EX_USAGE" "--for $target: bookworm or trixie, as in --for trixie/aarch64" ;; esac
    if [ -n "$wheelhouse" ]; then
        compgen -G "$wheelhouse/*.whl" >/dev/null || die "$EX_USAGE" "--wheelhouse $wheelhouse: no wheels there; make them with --make-wheelhouse"
        wheelhouse=$(cd -- "$wheelhouse" && pwd)
    fi
}

main() {
    parse "$@"
    check_arguments
    case $task in
        uninstall) uninstall "$purge" ;;
        allow_technician) allow_technician "$operand" ;;
        make_wheelhouse) make_wheelhouse "$operand" "$target" ;;
        *) "$task" ;;
    esac
    exit # before the rest of this file is read again: a clone that is updated meanwhile changes nothing of this run
}

main "$@"
