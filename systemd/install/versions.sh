# shellcheck shell=bash
# Versions of the program under $PREFIX/versions, each complete with its environment, network and system files, and the link to the one
# that serves. A version is built beside the others; only a whole one has the file .complete, written last.

readonly VERSIONS="$PREFIX/versions"

# Everything of the clone that a version is made of.
readonly INGREDIENTS=(edge hef index/sample systemd pyproject.toml README.md LICENSE)

serving() { basename "$(readlink "$PREFIX/current" 2>/dev/null)"; }
previous() { basename "$(readlink "$PREFIX/previous" 2>/dev/null)"; }

# constraints: a numpy from Debian is kept, since Debian's camera and NPU bindings are built for it; pip would put a newer one before it.
constraints() {
    "$python" -P - <<'PYTHON'
try:
    import numpy
except ImportError:
    raise SystemExit(0)
if "/dist-packages/" in numpy.__file__:
    print(f"numpy=={numpy.__version__}")
PYTHON
}

# version_id: the program's number and a hash of all that goes into it; the same clone on the same system gives the same.
version_id() {
    local number hash
    number=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$HERE/edge/__init__.py")
    hash=$(
        cd "$HERE"
        {
            find "${INGREDIENTS[@]}" -type f ! -name '*.pyc' ! -name model-b1.onnx -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
            python_tag
            constraints
        } | sha256sum
    )
    printf '%s-%s' "$number" "${hash:0:12}"
}

# works VERSION: every library loads, and the bindings from packages that load without the environment load within it too.
works() {
    local binding
    "$1/bin/python" -c 'import cv2, hnswlib, numpy, onnxruntime, paho.mqtt, PIL, pydantic, ulid, edge.app.daemon' || return 1
    for binding in picamera2 hailo_platform; do
        if imports "$python" "$binding" && ! imports "$1/bin/python" "$binding"; then
            HAILORT_LOGGER_PATH=NONE "$1/bin/python" -c "import $binding" || true
            note "$binding loads with $python but not in $1: the numpy there does not fit Debian's; take it out and run this again"
            return 1
        fi
    done
}

# build VERSION WHEELHOUSE: make the version unless it is there and works. A half-made one is made anew.
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
    copy_tree "$HERE" "$directory/source" edge pyproject.toml README.md LICENSE
    install_program "$directory" "$wheelhouse"
    run rm -rf "$directory/source"
    [ "$dry_run" = no ] || return 0
    works "$directory" || die "$EX_FAILED" "version $(basename "$directory") cannot load its libraries; nothing was changed$(serves_on)"
    sync -f "$directory"
    touch "$directory/.complete"
    sync "$directory/.complete" "$directory"
}

install_program() {
    local directory=$1 options=(--quiet --no-input --disable-pip-version-check --no-warn-script-location)
    constraints | put_text "$directory/constraints.txt" 644
    options+=(--constraint "$directory/constraints.txt")
    if [ -n "$2" ]; then
        options+=(--no-index --find-links "$2")
    else
        # kept until the version is whole, so that a build that was cut need not fetch everything again
        options+=(--cache-dir "$PREFIX/cache")
    fi
    run "$directory/bin/python" -m pip install "${options[@]}" "$directory/source" ||
        die "$EX_UNAVAILABLE" "the Python libraries could not be installed; without network use --wheelhouse (docs/raspberry-pi.md, Without network)$(serves_on)"
}

serves_on() { [ -z "$(serving)" ] || printf ', %s serves on' "$(serving)"; }

# self_test VERSION CARDS: everything that can be examined without taking camera, NPU or page from the scanner that runs.
self_test() {
    local index=() report
    if [ "$dry_run" = yes ]; then
        note "would run: $1/bin/cardedge check --at-rest"
        return 0
    fi
    if [ -n "$2" ]; then index=(--index "$2"); fi
    report=$("$1/bin/cardedge" check --at-rest --config "$CONFIG/cardedge.toml" "${index[@]}" 2>&1) && return 0
    printf '%s\n' "$report" >&2
    return 1
}

# prune: keep the version that serves and the one before; called only once the former is known to work.
prune() {
    local directory
    for directory in "$VERSIONS"/*; do
        case $(basename "$directory") in
            "$(serving)" | "$(previous)" | '*') ;;
            *) run rm -rf "$directory" ;;
        esac
    done
    run rm -rf "$PREFIX/cache/http" "$PREFIX/cache/http-v2"
}
