# shellcheck shell=bash
# Downloads, builds and installs the Python libraries: exactly the files that the locks in systemd/install/lock/ name by version and SHA-256.
# python -m tools.update_lock writes the locks. The files come from the package index that pip is configured with, or from a wheelhouse.

readonly LOCKS="$HERE/systemd/install/lock"
readonly PIP=(-m pip --no-input --disable-pip-version-check)
readonly LOCKED=(--require-hashes --no-deps)
readonly SOURCE_ONLY=("${LOCKED[@]}" --no-binary :all: --no-build-isolation --no-cache-dir)

# Size of the wheels in the locks for aarch64.
readonly LIBRARIES_MB=80

# Downloads are kept until the version is complete, so that an interrupted build need not repeat them; what was built is kept for the next version.
readonly CACHE="$PREFIX/cache"

# debian_version LIBRARY: print the version of a library that Debian's packages provide for $python, if any.
debian_version() {
    "$python" -P - "$1" <<'PYTHON'
import sys
from importlib.metadata import PackageNotFoundError, distribution
try:
    found = distribution(sys.argv[1])
except PackageNotFoundError:
    raise SystemExit(0)
if "/dist-packages/" in f"{found.locate_file('')}/":
    print(found.version)
PYTHON
}

# locks: print the names of the locks whose wheels this machine needs. Debian's numpy, for which its camera and NPU bindings are built, must not
# be hidden by another.
locks() {
    case $(debian_version numpy) in
        '') printf '%s\n' scanner numpy && extras ;;
        1.*) printf '%s\n' scanner-numpy1 && extras | sed 's/$/-numpy1/' ;;
        *) printf '%s\n' scanner && extras ;;
    esac
}

# extras: print the extras that a version gets, each with locks of its own: those of the active version and of --with, without those of --without.
extras() {
    if [[ " ${without_extras:-} " == *" ocr "* ]]; then return; fi
    if [[ " ${with_extras:-} " == *" ocr "* ]] || grep -qsx ocr "$PREFIX/current/extras"; then echo ocr; fi
}

# requirements LOCK...: print pip's options for these locks, one a line.
requirements() { printf -- "--requirement=$LOCKS/%s.txt\n" "$@" | sort -u; }

# pinned LOCK...: print the versions in these locks, without hashes.
pinned() {
    local files=("${@/#/$LOCKS/}")
    sed -nE 's/^([A-Za-z0-9._-]+==[^ ;\\]+).*/\1/p' "${files[@]/%/.txt}"
}

python_tag() { "$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])'; }

# hnswlib has no wheels: it is taken from Debian if new enough (trixie), else it is built.
has_system_hnswlib() { dpkg --compare-versions "$(debian_version hnswlib)" ge 0.8 2>/dev/null; }

# hnswlib_wheel DIR...: print the first wheel of the locked hnswlib for this machine in these directories; fail if there is none.
hnswlib_wheel() {
    local directory version
    version=$(pinned source)
    for directory in "$@"; do
        compgen -G "$directory/${version/==/-}-$(python_tag)-*_$(uname -m).whl" && return 0
    done
    return 1
}

# as_nobody COMMAND...: run a command without privileges.
as_nobody() { if is_root; then runuser --user nobody -- "$@"; else "$@"; fi; }

# fetch PYTHON DIR OPTION...: have PYTHON's pip download the wheels of locks to DIR; what is already there is not downloaded again.
fetch() {
    local with=$1 directory=$2
    shift 2
    run install -d "$directory"
    watched "$with" "${PIP[@]}" download "${LOCKED[@]}" --only-binary :all: --dest "$directory" "$@" ||
        die "$EX_UNAVAILABLE" "the Python libraries could not be downloaded; without a network use --wheelhouse with a wheelhouse made by this" \
            "version of CardEdge (docs/raspberry-pi.md, Without a network)$(still_active)"
}

# in_room ROOM COMMAND...: run a command in a directory of nobody.
in_room() {
    local room=$1
    shift
    watched as_nobody env --chdir="$room" HOME="$room" "$@" || die "$EX_UNAVAILABLE" "a Python library could not be built$(still_active)"
}

# build_room PYTHON ROOM WHEELS LOCK...: prepare a directory for building with the tools of locks, whose wheels are in WHEELS. Builds have no
# privileges, because they run programs of the libraries' authors.
build_room() {
    local with=$1 room=$2 wheels=$3 options
    shift 3
    mapfile -t options < <(requirements "$@")
    run rm -rf "$room"
    run install -d "$room/built"
    copy_tree "$LOCKS" "$room/lock" .
    if is_root; then run chown nobody "$room" "$room/built"; fi
    fetch "$with" "$room/tools" --no-index --find-links "$wheels" "${options[@]}"
    in_room "$room" "$python" -m venv --without-pip "$room/venv"
    pip_in_room "$with" "$room" install "${LOCKED[@]}" --only-binary :all: --no-index --find-links "$room/tools" "${options[@]/$LOCKS/$room/lock}"
}

# pip_in_room PYTHON ROOM SUBCOMMAND...: have PYTHON's pip work on the environment of the room.
pip_in_room() {
    local with=$1 room=$2
    shift 2
    in_room "$room" "$with" "${PIP[@]}" --python "$room/venv/bin/python" "$@"
}

# build_hnswlib PYTHON ROOM OPTION...: build the locked hnswlib; the wheel is written to ROOM/built.
build_hnswlib() { pip_in_room "$1" "$2" wheel "${SOURCE_ONLY[@]}" --wheel-dir built --requirement lock/source.txt "${@:3}"; }

# install_libraries VERSION WHEELHOUSE: install the locked libraries and the clone into the environment of a version.
install_libraries() {
    local with="$1/bin/python" wheels="$CACHE/wheels" room="$CACHE/room" source=() names tools=(build) options hnswlib=()
    mapfile -t names < <(locks)
    if [ -n "$2" ]; then
        source=(--no-index --find-links "$2")
        note "Taking $(pinned "${names[@]}" | wc -l) libraries from $2"
    else
        note "Downloading $(pinned "${names[@]}" | wc -l) libraries (about $LIBRARIES_MB MB)"
    fi
    if ! has_system_hnswlib; then
        mapfile -t hnswlib < <(hnswlib_wheel "$CACHE/built" "$2")
        [ ${#hnswlib[@]} -gt 0 ] || tools+=(numpy)
    fi
    mapfile -t options < <(requirements "${names[@]}" "${tools[@]}")
    fetch "$with" "$wheels" "${source[@]}" "${options[@]}"

    build_room "$with" "$room" "$wheels" "${tools[@]}"
    if [[ ${tools[*]} == *numpy* ]]; then
        note "Building hnswlib (a minute or more)"
        build_hnswlib "$with" "$room" "${source[@]}"
        run install -d "$CACHE/built"
        run cp --no-dereference "$room"/built/hnswlib-*.whl "$CACHE/built"
        mapfile -t hnswlib < <(hnswlib_wheel "$CACHE/built")
    fi
    copy_tree "$HERE" "$room/source" edge pyproject.toml README.md LICENSE
    if is_root; then run chown -R nobody "$room/source"; fi
    pip_in_room "$with" "$room" wheel --no-deps --no-index --no-build-isolation --wheel-dir built ./source

    note "Installing"
    mapfile -t options < <(requirements "${names[@]}")
    watched "$with" "${PIP[@]}" install "${LOCKED[@]}" --only-binary :all: --no-index --find-links "$wheels" "${options[@]}"
    watched "$with" "${PIP[@]}" install --no-deps --no-index "${hnswlib[@]}" "$room"/built/cardedge-*.whl
    run rm -rf "$room"
}
