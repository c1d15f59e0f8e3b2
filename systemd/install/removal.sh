# shellcheck shell=bash
# Uninstalls everything.

uninstall() {
    local purge=$1
    need_root "--uninstall"
    lock
    if [ "$dry_run" = no ] && ! is_anything_installed; then
        say "CardEdge is not installed on this machine; nothing was removed."
        return 0
    fi
    stop_units
    forget_packages
    run rm -rf /etc/systemd/system/cardedge-kiosk.service "$UNIT" /etc/systemd/system/cardedge.service.d "$PREFIX" \
        /usr/local/bin/cardedge /usr/lib/sysusers.d/cardedge.conf /usr/lib/sysusers.d/cardedge-kiosk.conf \
        /usr/lib/tmpfiles.d/cardedge.conf /usr/lib/udev/rules.d/50-cardedge.rules
    if [ -e /etc/ssh/sshd_config.d/cardedge.conf ]; then
        run rm -f /etc/ssh/sshd_config.d/cardedge.conf
        if systemd_runs; then run systemctl reload ssh || true; fi
    fi
    if systemd_runs; then
        run systemctl daemon-reload
        run systemctl reset-failed 'cardedge*' 2>/dev/null || true
        run udevadm control --reload 2>/dev/null || true
    fi
    if [ "$purge" = yes ]; then
        purge_data
        say "Removed, including settings, passwords, cards and events."
    else
        say "Removed. Settings ($CONFIG), cards and events ($STATE) and the broker's configuration are kept; --purge removes them."
    fi
}

# What an installation leaves, whatever it was interrupted at.
is_anything_installed() {
    local path
    for path in "$PREFIX" "$STATE" "$CONFIG" "$ROOT/etc/mosquitto/conf.d/cardedge.conf" "$ROOT/usr/lib/sysusers.d/cardedge.conf"; do
        if [ -e "$path" ]; then return 0; fi
    done
    return 1
}

stop_units() {
    local name
    systemd_runs || return 0
    for name in cardedge-kiosk cardedge; do
        if [ -e "/etc/systemd/system/$name.service" ]; then run systemctl disable --quiet --now "$name.service" || true; fi
    done
}

# Other programs may use these packages by now: they are listed, not removed.
forget_packages() {
    if [ -s "$PREFIX/packages" ]; then
        note "Debian packages installed for CardEdge are kept; if nothing else needs them: sudo apt-get autoremove --purge $(sort -u "$PREFIX/packages" | paste -sd ' ')"
    fi
}

purge_data() {
    local name
    run rm -rf "$STATE" "$STATE-kiosk" "$CONFIG" /etc/credstore/mqtt-password /etc/credstore/camera-password /etc/credstore/http-token
    if [ -e /etc/mosquitto/conf.d/cardedge.conf ]; then
        run rm -f /etc/mosquitto/conf.d/cardedge.conf
        if systemd_runs; then run systemctl try-restart mosquitto.service || true; fi
    fi
    for name in cardedge-kiosk cardedge; do
        if id "$name" >/dev/null 2>&1; then run userdel "$name"; fi
        if getent group "$name" >/dev/null; then run groupdel "$name"; fi
    done
}
