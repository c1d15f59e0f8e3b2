# shellcheck shell=bash
# Installs the kiosk screen, and the keys of technicians.

kiosk() {
    need_root "--kiosk"
    lock
    [ -e "$UNIT" ] || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "CardEdge is not installed; run sudo ./install.sh first"
    packages cage chromium
    run install -D -m 644 "$HERE/systemd/cardedge-kiosk.sysusers" /usr/lib/sysusers.d/cardedge-kiosk.conf
    run systemd-sysusers /usr/lib/sysusers.d/cardedge-kiosk.conf
    run install -D -m 644 "$HERE/systemd/cardedge-kiosk.service" /etc/systemd/system/cardedge-kiosk.service
    if systemd_runs || [ "$dry_run" = yes ]; then
        run systemctl daemon-reload
        run systemctl enable cardedge-kiosk.service
        run systemctl restart --no-block cardedge-kiosk.service
    fi
    if page_is_enabled; then
        say "The page is shown on the screen. To stop: sudo systemctl disable --now cardedge-kiosk"
    else
        say "The screen waits for the page, which is disabled: set enabled = true under [http] in $CONFIG/cardedge.toml, then: sudo systemctl restart cardedge"
    fi
}

page_is_enabled() {
    /usr/bin/python3 -I -c 'import sys, tomllib
settings = tomllib.loads(open(sys.argv[1], encoding="utf-8-sig").read())
sys.exit(not settings.get("http", {}).get("enabled", False))' "$CONFIG/cardedge.toml" 2>/dev/null
}

allow_technician() {
    local type key comment name
    need_root "--allow-technician"
    [ -r "$1" ] || die "$EX_USAGE" "$1: file not found"
    lock
    packages openssh-server openssh-client
    ssh-keygen -lf "$1" >/dev/null 2>&1 || die "$EX_USAGE" "$1: not an SSH public key; give the file that ends in .pub"
    id cardedge >/dev/null 2>&1 || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "user cardedge does not exist; run sudo ./install.sh first"
    read -r type key comment <"$1" || [ -n "$key" ]
    case $type in ssh-* | sk-* | ecdsa-*) ;; *) die "$EX_USAGE" "$1: this is a private key; give the file that ends in .pub" ;; esac
    name=$(printf '%s' "${comment:-technician}" | tr -cd 'A-Za-z0-9@._-')
    say "Allowing $name to sign and push index bundles"
    run install -d "$CONFIG"
    add_line "$CONFIG/allowed_signers" "$name namespaces=\"cardedge-index\" $type $key"
    add_line "$CONFIG/authorized_keys" "restrict,command=\"/usr/local/bin/cardedge index receive --technician $name\" $type $key $name"
    run install -D -m 644 "$HERE/systemd/sshd-cardedge.conf" /etc/ssh/sshd_config.d/cardedge.conf
    # sshd runs a forced command through the user's shell; nologin would refuse it
    [ "$(getent passwd cardedge | cut -d: -f7)" = /bin/sh ] || run usermod --shell /bin/sh cardedge
    if systemd_runs || [ "$dry_run" = yes ]; then run systemctl reload ssh; fi
    say "Done. From the workstation: .venv/bin/python -m tools.push_index BUNDLE cardedge@$(uname -n)"
}
