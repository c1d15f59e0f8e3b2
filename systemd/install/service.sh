# shellcheck shell=bash
# Installs the service: user, settings, cards, the active version, and the trial of a new one.

readonly UNIT=/etc/systemd/system/cardedge.service
readonly READY_S=${CARDEDGE_READY_S:-90}
readonly SETTLED_S=5

# user_and_folders VERSION
user_and_folders() {
    run install -D -m 644 "$1/systemd/cardedge.sysusers" /usr/lib/sysusers.d/cardedge.conf
    run install -D -m 644 "$1/systemd/cardedge.tmpfiles" /usr/lib/tmpfiles.d/cardedge.conf
    run systemd-sysusers /usr/lib/sysusers.d/cardedge.conf
    run systemd-tmpfiles --create /usr/lib/tmpfiles.d/cardedge.conf
}

# system_files VERSION: install the unit file and rules of that version.
system_files() {
    user_and_folders "$1"
    run install -D -m 644 "$1/systemd/cardedge.udev" /usr/lib/udev/rules.d/50-cardedge.rules
    run install -D -m 644 "$1/systemd/cardedge.service" "$UNIT"
    if systemd_runs || [ "$dry_run" = yes ]; then
        run systemctl daemon-reload
        run udevadm control --reload 2>/dev/null || true
        run udevadm trigger --subsystem-match=hailo_chardev --subsystem-match=dma_heap 2>/dev/null || true
    fi
}

# write_settings VERSION CAMERA: write the first settings for this machine; an existing file is only compared.
write_settings() {
    local file="$CONFIG/cardedge.toml" edits=() said
    choose_backend "$1"
    if [ -e "$file" ]; then
        said=$("$python" -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1], "rb")).get("network", {}).get("backend", "onnx"))' "$file" 2>/dev/null) || return 0
        if [ "$said" != "$backend" ]; then
            note "$file has backend = \"$said\", but \"$backend\" fits this machine: $backend_why. The file is not changed"
        fi
        return 0
    fi
    choose_camera "$2" "$1/bin/python"
    say "Writing $file: backend $backend ($backend_why), camera ${camera_kind:-not found}"
    edits=(-e "s|^#backend = .*|backend = \"$backend\"             # onnx: the CPU; hailo: the NPU. Chosen by install.sh: $backend_why|")
    if [ -n "$camera_kind" ]; then
        edits+=(-e "s|^#kind = \"picamera2\" |kind = \"$camera_kind\" |" -e "s|^#source = \"0\" |source = \"$camera_source\" |")
    fi
    sed "${edits[@]}" "$HERE/systemd/cardedge.toml" | put_text "$file" 644
}

active_cards() { basename "$(readlink "$STATE/index/current" 2>/dev/null)"; }
bundle_of() { sed -n 's/.*"bundle_id": *"\([0-9a-f]*\)".*/\1/p' "$1/manifest.json" 2>/dev/null | head -n 1; }

# is_sample BUNDLE-ID: succeed if it is the sample index of an installed version.
is_sample() {
    local version
    for version in "$VERSIONS"/*; do
        if [ "$1" = "$(bundle_of "$version/sample")" ]; then return 0; fi
    done
    return 1
}

# cards_for VERSION WANTED: print the bundle to activate with a version: WANTED, else the sample index if there is none or an older sample.
cards_for() {
    local active
    active=$(active_cards)
    if [ -n "$2" ]; then
        printf '%s' "$2"
    elif [ -z "$active" ] || { [ "$active" != "$(bundle_of "$HERE/index/sample")" ] && is_sample "$active"; }; then
        printf '%s' "$1/sample"
    fi
}

# bundle_folder CARDS: print the directory of a bundle given by its directory or by its id on this device.
bundle_folder() {
    if [ -z "$1" ] || [ -d "$1" ]; then printf '%s' "$1"; else printf '%s' "$STATE/index/releases/$1"; fi
}

# activate VERSION CARDS: activate a bundle (a directory, or the id of an installed release).
activate() {
    local bundle=$2 copy='' status=0
    if [ "$dry_run" = no ] && [ -d "$bundle" ] && ! as_service test -r "$bundle/manifest.json"; then
        copy=$(mktemp -d) bundle=$copy/bundle
        copy_tree "$2" "$bundle" .
        chmod -R a+rX "$copy"
    fi
    as_service "$1/bin/cardedge" index activate "$bundle" --index "$STATE/index" >/dev/null || status=$?
    [ -z "$copy" ] || rm -rf "$copy"
    return "$status"
}

property() { systemctl show --property="$1" --value cardedge.service; }

# ready: succeed if the daemon becomes ready in time and stays so. After three restarts it counts as failed.
ready() {
    local deadline=$((SECONDS + READY_S)) before now
    before=$(property NRestarts)
    while [ "$SECONDS" -lt "$deadline" ]; do
        now=$(property NRestarts)
        case $(property ActiveState) in
            active)
                sleep "$SETTLED_S"
                if [ "$(property ActiveState) $(property NRestarts)" = "active $now" ]; then return 0; fi
                ;;
            failed) return 1 ;;
        esac
        if [ "$now" -ge $((before + 3)) ]; then return 1; fi
        sleep 0.5
    done
    return 1
}

# report_camera: print whether the running service receives frames: it becomes ready without a camera, and keeps trying.
report_camera() {
    local tries text state
    for ((tries = 0; tries < 2 * READY_S; tries++)); do
        text=$(property StatusText)
        state=${text#camera } state=${state%%,*}
        case $state in '' | opening) sleep 0.5 ;; *) break ;; esac
    done
    if [ "$state" = running ]; then
        note "State of the service: $text"
    else
        say "The service runs, but it has no picture: its camera is ${state:-in an unknown state}"
    fi
}

restart() {
    systemctl stop cardedge.service || true
    systemctl reset-failed cardedge.service 2>/dev/null || true
    systemctl start --no-block cardedge.service
}

last_lines() {
    note "Last lines of the log:"
    journalctl --unit cardedge.service --no-pager --lines 20 --output cat 2>/dev/null | sed 's/^/    /' >&2
}

# activate_version VERSION CARDS: switch to a version (and to cards, if given), and back again if it does not become ready.
# The file `trial` names the new version, the cards that were active and the version before; it survives a power cut, after which the next run
# repeats the trial.
activate_version() {
    local id old bundle=$2 former before
    id=$(basename "$1") old=$(active_version) former=$(active_cards) before=$(previous)
    [ "$before" != "$old" ] || before='' # an interrupted run has already set the link
    if [ -n "$old" ] && [ "$old" != "$id" ]; then
        printf '%s %s %s\n' "$id" "${former:--}" "${before:--}" | put_text "$PREFIX/trial" 644
        point "$PREFIX/previous" "versions/$old"
    fi
    # a running daemon would reject cards of another model and log an error
    if [ -n "$bundle" ] && [ -n "$old" ] && systemd_runs; then run systemctl stop cardedge.service; fi
    system_files "$1"
    if [ -n "$bundle" ]; then
        say "Activating the cards of $bundle"
        if ! activate "$1" "$bundle"; then
            if [ -n "$old" ] && systemd_runs; then return_to "$old" "${former:--}" "${before:--}"; fi
            die "$EX_FAILED" "the cards of $bundle could not be activated; nothing was changed$(still_active)"
        fi
    fi
    point "$PREFIX/current" "versions/$id"
    run ln -sfn "$PREFIX/current/bin/cardedge" /usr/local/bin/cardedge
    start "$id"
}

# start VERSION-ID: start the active version and wait until it is ready; if it is on trial and fails, return to the previous one.
start() {
    local tried='' former='' before=''
    if [ "$no_start" = yes ] || { [ "$dry_run" = no ] && ! systemd_runs; }; then
        run systemctl enable --quiet cardedge.service
        return 0
    fi
    run systemctl enable --quiet cardedge.service
    if [ "$dry_run" = yes ]; then
        note "would start the service and wait up to $READY_S s until it is ready; otherwise would return to the previous version"
        return 0
    fi
    if needs_reboot; then return 0; fi
    restart
    if ready; then
        rm -f "$PREFIX/trial"
        return 0
    fi
    last_lines
    read -r tried former before <"$PREFIX/trial" 2>/dev/null || true
    if [ "$tried" != "$1" ]; then
        die "$EX_FAILED" "version $1 did not become ready; see \`cardedge check\` and \`journalctl -u cardedge\`"
    fi
    return_to "$(previous)" "$former" "$before"
    die "$EX_FAILED" "version $1 did not become ready; $(active_version) is active again"
}

# return_to VERSION-ID CARDS BEFORE: return to the previous version with its system files and cards, and restore the version before it;
# - means none.
return_to() {
    say "Returning to version $1"
    systemctl stop cardedge.service || true
    system_files "$VERSIONS/$1"
    if [ "$2" != - ] && [ "$2" != "$(active_cards)" ]; then activate "$VERSIONS/$1" "$2"; fi
    point "$PREFIX/current" "versions/$1"
    if [ "$3" != - ]; then point "$PREFIX/previous" "versions/$3"; else rm -f "$PREFIX/previous"; fi
    rm -f "$PREFIX/trial"
    restart
    ready || die "$EX_FAILED" "neither the new version nor $1 became ready; see \`journalctl -u cardedge\`"
}

# needs_reboot: succeed if the NPU is configured and its driver was just installed.
needs_reboot() { hailo_slot >/dev/null && grep -qs '^backend = "hailo"' "$CONFIG/cardedge.toml" && [ ! -e "$DEV/hailo0" ]; }

# broker: install Mosquitto for this machine only, with persistence; an existing broker is left as it is.
broker() {
    local ours=/etc/mosquitto/conf.d/cardedge.conf without=()
    if ! is_installed mosquitto && (: <>/dev/tcp/127.0.0.1/1883) 2>/dev/null; then
        note "Another broker is listening on port 1883 of this machine; Mosquitto is not installed"
        return 0
    fi
    packages mosquitto
    if [ ! -e "$ours" ]; then
        if grep -rqsE '^ *(listener|port|bind_address)\b' /etc/mosquitto/mosquitto.conf /etc/mosquitto/conf.d; then
            note "Mosquitto is already configured with listeners; they are not changed (see systemd/mosquitto-cardedge.conf for an example)"
            return 0
        fi
        # a kernel without IPv6 has no ::1 to listen on
        [ -e "$PROC/net/if_inet6" ] || without=(-e '/^listener 1883 ::1$/d')
        sed "${without[@]}" -e '' "$HERE/systemd/mosquitto-cardedge.conf" | put_text "$ours" 644
        if systemd_runs; then run systemctl restart mosquitto.service || note "Mosquitto does not start with $ours; see \`journalctl -u mosquitto\`"; fi
    fi
    if systemd_runs; then run systemctl enable --quiet mosquitto.service; fi
}
