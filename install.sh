#!/usr/bin/env bash
# Installs CardEdge on Debian, Ubuntu or Raspberry Pi OS with Python 3.11 or newer; see ./install.sh --help. Sources systemd/install/*.sh.
# Every step checks whether its work is already done: a second run repairs, resumes after an interruption, and never overwrites settings.
# shellcheck disable=SC2317 # the tasks are called by their names, at the end
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly VENV="$HERE/.venv"

# shellcheck source=systemd/install/base.sh
source "$HERE/systemd/install/base.sh"
# shellcheck source=systemd/install/packages.sh
source "$HERE/systemd/install/packages.sh"
# shellcheck source=systemd/install/libraries.sh
source "$HERE/systemd/install/libraries.sh"
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
wheelhouse='' target='' camera='' cards='' operand='' page='' with_extras='' without_extras=''

usage() {
    cat <<'TEXT'
Usage: ./install.sh [TASK] [OPTION...]

  (none)         install or upgrade the service; needs root. If the new version does not become ready, the previous one is started again
  --rollback     return to the previous version; needs root
  --uninstall    stop and remove the service; settings, cards and events stay
  --purge        with --uninstall: remove these as well, and the user, the passwords in /etc/credstore and the broker's configuration
  --kiosk        show the scanner's page full screen on this machine instead of a login or desktop; needs root
  --allow-technician KEY.pub
                 allow this SSH key to sign index bundles and push them over SSH, and nothing else; needs root
  --make-wheelhouse DIR [--for bookworm|trixie[/ARCH]]
                 collect the Python libraries for machines without a network: for this system, or for a Raspberry Pi (ARCH is aarch64)
  --demo         play a video of drawn cards to a scanner on this machine and check its answers (under a minute)
  --test         install what the checks need and run all of them
  --test-board   test the Hailo board of this machine
  --help         print this text

Options for installing:
  --wheelhouse DIR    install the Python libraries from DIR, without a network
  --with ocr          install the reader of collector numbers, too; later versions keep it. With --make-wheelhouse: include its libraries
  --without ocr       install the new version without it
  --cards BUNDLE      activate this index: a bundle's directory, or the id of a release on the device; the default for a first installation is
                      the sample index
  --camera KIND       picamera2 or v4l2 instead of automatic detection; used when the settings file is first written
  --no-broker         do not install or configure Mosquitto
  --no-start          enable the service, but do not start it before the next boot

Option for the demo:
  --http ADDRESS:PORT show the scanner's page at this address, for example 127.0.0.1:8080, and repeat the video until Ctrl+C

  --dry-run           print what would be done, change nothing

Exit status: 0 done, 64 wrong command line, 69 something is missing, 70 the new version does not work (the previous one is active), 75 another
install.sh is running. The demo needs no root if Python and a C++ compiler are installed.
TEXT
}

# environment DIR REQUIREMENT OPTION...: create a virtual environment and install the clone into it, unless that was done before.
# OPTIONs are passed to venv.
environment() {
    local directory=$1 requirement=$2 stamp
    shift 2
    stamp="$directory/.installed-$(cat "$HERE/pyproject.toml" "$LOCKS"/*.txt <(printf '%s' "$requirement") | sha256sum | cut -c1-16)"
    [ ! -e "$stamp" ] || return 0
    say "Creating a virtual environment in $directory (takes a few minutes the first time)"
    [ -x "$directory/bin/python" ] || run "$python" -m venv "$@" "$directory"
    # other libraries than a scanner's may want other versions than the locked ones, with Debian's numpy in front not even numpy's
    if [ $# -gt 0 ]; then debian_version numpy | sed 's/^/numpy==/'; else pinned scanner numpy source; fi | put_text "$directory/constraints.txt" 644
    # Python compiles what is imported; all of it would take as long as the download
    watched "$directory/bin/python" "${PIP[@]}" install --no-compile --constraint "$directory/constraints.txt" --editable "$requirement"
    [ "$dry_run" = yes ] || touch "$stamp"
}

demo() {
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    build_tools
    environment "$VENV" "${HERE}[demo,workstation]"
    # the demo prefers Mosquitto; if it is neither running nor installable, the demo starts a small broker of its own
    if is_root; then packages mosquitto; fi
    cd "$HERE"
    # the demo imports tools/ from the clone
    run env --unset=PYTHONSAFEPATH "$VENV/bin/python" -m edge demo ${page:+--http "$page"}
}

check() {
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    build_tools
    packages chromium mmdebstrap mosquitto openssh-client openssh-server openssl procps shellcheck systemd systemd-container
    environment "$VENV" "${HERE}[test]"
    cd "$HERE"
    run env --unset=PYTHONSAFEPATH PATH="$VENV/bin:/usr/sbin:$PATH" bash "$HERE/.ci/checks"
}

# Run the embedder's contract suite on the board. No other process may hold it.
board_test() {
    local directory="$HERE/.venv-board"
    if systemd_runs && systemctl is-active --quiet cardedge.service; then
        die "$EX_UNAVAILABLE" "the service is using the NPU: stop it with sudo systemctl stop cardedge, then run this command again"
    fi
    choose_python /usr/bin/python3
    provide_hnswlib ""
    environment "$directory" "${HERE}[board]" --system-site-packages
    cd "$HERE"
    run env --unset=PYTHONSAFEPATH "$directory/bin/python" -m pytest -q -rs -m hardware tests/contract
}

install_service() {
    local directory
    need_root "the installation"
    lock
    # the system's Python: the service's user can execute no other, and packaged camera and NPU bindings are built for it
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
    need_root "--rollback"
    lock
    old=$(previous)
    [ -n "$old" ] || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "there is no previous version"
    switch "$VERSIONS/$old"
    say "$old is active; run --rollback again to return to the other version"
}

# switch VERSION: run its self-test, then activate it.
switch() {
    local bundle
    bundle=$(cards_for "$1" "$cards")
    [ -z "$cards" ] || [ -d "$(bundle_folder "$cards")" ] || die "$EX_USAGE" "--cards $cards: not a directory, and not a release on this device"
    if ! self_test "$1" "$(bundle_folder "$bundle")"; then
        die "$EX_FAILED" "version $(basename "$1") failed its self-test; nothing was changed$(still_active)"
    fi
    activate_version "$1" "$bundle"
}

# what_next: print the remaining steps for this machine.
what_next() {
    if [ "$dry_run" = yes ]; then say "Dry run: nothing was changed. An installation would print:"; else say "Installed: $(active_version) is active."; fi
    if [ "$dry_run" = no ] && systemd_runs && [ "$(property ActiveState)" = active ]; then report_camera; fi
    if needs_reboot; then note "The NPU driver was just installed: reboot now; the service then starts automatically"; fi
    if ! grep -qsE '^kind *=' "$CONFIG/cardedge.toml"; then note "No camera was found: connect one, set it under [camera] in $CONFIG/cardedge.toml, then: sudo systemctl restart cardedge"; fi
    pcie_hint
    memory_hint
    note "Check the installation:               sudo -u cardedge cardedge check"
    note "Watch events:                         mosquitto_sub -t 'cardedge/+/event' -v   (package mosquitto-clients)"
    note "Your own cards, page, Home Assistant: README.md; NPU, camera, upgrades: docs/raspberry-pi.md"
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
            --with) value_of "$@" && with_extras+=" $2" && shift ;;
            --without) value_of "$@" && without_extras+=" $2" && shift ;;
            --cards) value_of "$@" && cards=$2 && shift ;;
            --http) value_of "$@" && page=$2 && shift ;;
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

# Check that the options fit together.
check_arguments() {
    local extra
    [ "$purge" = no ] || [ "$task" = uninstall ] || die "$EX_USAGE" "--purge needs --uninstall"
    [ -z "$page" ] || [ "$task" = demo ] || die "$EX_USAGE" "--http needs --demo"
    [ -z "$target" ] || [ "$task" = make_wheelhouse ] || die "$EX_USAGE" "--for needs --make-wheelhouse"
    for extra in $with_extras $without_extras; do
        [ "$extra" = ocr ] || die "$EX_USAGE" "--with $extra: the only extra of a scanner is ocr"
    done
    case $camera in '' | picamera2 | v4l2) ;; *) die "$EX_USAGE" "--camera $camera: must be picamera2 or v4l2; configure other cameras in the settings file" ;; esac
    case $target in '' | bookworm | trixie | bookworm/?* | trixie/?*) ;; *) die "$EX_USAGE" "--for $target: must be bookworm or trixie, as in --for trixie/aarch64" ;; esac
    if [ -n "$wheelhouse" ]; then
        compgen -G "$wheelhouse/*.whl" >/dev/null || die "$EX_USAGE" "--wheelhouse $wheelhouse: contains no wheels; create them with --make-wheelhouse"
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
    exit # bash reads on after main returns: updating the clone during a run must have no effect
}

main "$@"
