# shellcheck shell=bash
# Builds versions of the program under $PREFIX/versions, each with its environment, model and system files. $PREFIX/current links to the active
# version. The file .complete is written last, so an interrupted build is recognized.

readonly VERSIONS="$PREFIX/versions"

# The parts of the clone that make up a version.
readonly INGREDIENTS=(edge hef index/sample systemd pyproject.toml README.md LICENSE)

active_version() { basename "$(readlink "$PREFIX/current" 2>/dev/null)"; }
previous() { basename "$(readlink "$PREFIX/previous" 2>/dev/null)"; }

# version_id: version number and a hash of everything that goes into it; the same clone on the same system gives the same id.
version_id() {
    local number hash
    number=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$HERE/edge/__init__.py")
    hash=$(
        cd "$HERE"
        {
            find "${INGREDIENTS[@]}" -type f ! -name '*.pyc' ! -name model-b1.onnx -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
            python_tag
            # Debian's are used instead of the locked ones
            debian_version numpy
            debian_version hnswlib
            extras
        } | sha256sum
    )
    printf '%s-%s' "$number" "${hash:0:12}"
}

# works VERSION: check that every library loads, and that packaged bindings that load outside the environment also load inside it.
works() {
    local binding
    as_nobody "$1/bin/python" -c 'import cv2, hnswlib, numpy, onnxruntime, paho.mqtt, PIL, pydantic, ulid, edge.app.daemon' || return 1
    if grep -qsx ocr "$1/extras"; then as_nobody "$1/bin/python" -c 'from edge.adapters.ocr import RapidOcrReader; RapidOcrReader()' || return 1; fi
    for binding in picamera2 hailo_platform; do
        if imports "$python" "$binding" && ! imports "$1/bin/python" "$binding"; then
            HAILORT_LOGGER_PATH=NONE "$1/bin/python" -c "import $binding" || true
            note "$binding loads with $python but not in $1: its numpy does not match Debian's; remove it and run this again"
            return 1
        fi
    done
}

# build VERSION WHEELHOUSE: build the version unless it exists and works. An incomplete one is rebuilt.
build() {
    local directory=$1 wheelhouse=$2
    if [ -e "$directory/.complete" ]; then
        if works "$directory"; then return 0; fi
        say "$(basename "$directory") is damaged"
    fi
    say "Building version $(basename "$directory") (a few minutes)"
    run rm -rf "$directory"
    run install -d "$directory"
    run "$python" -m venv --system-site-packages "$directory"
    copy_tree "$HERE" "$directory" hef systemd
    copy_tree "$HERE/index" "$directory" sample
    # the next version gets the same ones
    extras | put_text "$directory/extras" 644
    install_libraries "$directory" "$wheelhouse"
    [ "$dry_run" = no ] || return 0
    works "$directory" || die "$EX_FAILED" "version $(basename "$directory") cannot load its libraries; nothing was changed$(still_active)"
    sync -f "$directory"
    touch "$directory/.complete"
    sync "$directory/.complete" "$directory"
}

still_active() { [ -z "$(active_version)" ] || printf '; %s is still active' "$(active_version)"; }

# self_test VERSION CARDS: run all checks that do not need the camera, NPU or page of the running scanner.
self_test() {
    local index=() report
    if [ "$dry_run" = yes ]; then
        note "would run: $1/bin/cardedge check --at-rest"
        return 0
    fi
    if [ -n "$2" ]; then index=(--index "$2"); fi
    report=$(as_service "$1/bin/cardedge" check --at-rest --config "$CONFIG/cardedge.toml" "${index[@]}" 2>&1) && return 0
    printf '%s\n' "$report" >&2
    return 1
}

# prune: keep the active and the previous version; called only after the active one has proven to work.
prune() {
    local directory
    for directory in "$VERSIONS"/*; do
        case $(basename "$directory") in
            "$(active_version)" | "$(previous)" | '*') ;;
            *) run rm -rf "$directory" ;;
        esac
    done
    run rm -rf "$CACHE/wheels" "$CACHE/room"
}
