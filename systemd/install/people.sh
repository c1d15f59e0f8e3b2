# shellcheck shell=bash
# For the people at the scanner: the page on its screen, and technicians who may push cards.

kiosk() {
    need_root "showing the page on the screen"
    lock
    [ -e "$UNIT" ] || [ "$dry_run" = yes ] || die "$EX_UNAVAILABLE" "no scanner here; run sudo ./install.sh first"
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

allow_technician() {
    local type key comment name
    need_root "letting a technician in"
    [ -r "$1" ] || die "$EX_USAGE" "$1: no such public key"
    lock
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
