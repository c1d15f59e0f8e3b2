# shellcheck shell=bash
# Creates a wheelhouse: a directory with everything pip needs on a machine without a network.

requirements() {
    "$python" - "$HERE/pyproject.toml" <<'PYTHON'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))
print("\n".join(project["project"]["dependencies"] + project["build-system"]["requires"] + ["wheel"]))
PYTHON
}

# make_wheelhouse DIR TARGET: TARGET is empty for this machine, else bookworm or trixie, optionally with /ARCH (default aarch64).
make_wheelhouse() {
    local scratch
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    run install -d "$1"
    if [ "$dry_run" = yes ]; then
        note "would fill $1 with the wheels of pyproject.toml for ${2:-this machine}"
        return 0
    fi
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$scratch'" EXIT
    "$python" -m venv "$scratch/venv"
    requirements >"$scratch/all.txt"
    if [ -z "$2" ]; then
        wheels_for_here "$1" "$scratch"
    else
        wheels_for "$1" "$scratch" "${2%%/*}" "$(case $2 in */*) printf '%s' "${2#*/}" ;; *) printf aarch64 ;; esac)"
    fi
    say "$(find "$1" -maxdepth 1 -name '*.whl' | wc -l) wheels in $1. On the scanner: sudo ./install.sh --wheelhouse $1"
}

wheels_for_here() {
    has_system_hnswlib || build_tools
    constraints >"$2/constraints.txt"
    "$2/venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --wheel-dir "$1" --constraint "$2/constraints.txt" --requirement "$2/all.txt" ||
        die "$EX_UNAVAILABLE" "the wheels could not be downloaded or built"
}

# wheels_for DIR SCRATCH RELEASE ARCH: download the wheels for another system; hnswlib, which has none, as source.
wheels_for() {
    local number debian_numpy platform options=(--quiet --disable-pip-version-check --dest "$1")
    case $3 in
        bookworm) number=3.11 debian_numpy=1.24.2 ;;
        trixie) number=3.13 debian_numpy=2.2.4 ;;
        *) die "$EX_USAGE" "--for $3: must be bookworm or trixie, as in --for trixie/aarch64" ;;
    esac
    grep -v '^hnswlib' "$2/all.txt" >"$2/wheels.txt"
    grep '^hnswlib' "$2/all.txt" >"$2/source.txt"
    # the wheels must match Debian's numpy, which is installed with its camera and NPU bindings
    printf 'numpy==%s\n' "$debian_numpy" >"$2/constraints.txt"
    for platform in 2_17 2_26 2_27 2_28 2_31 2_34 2_35 2_36; do options+=(--platform "manylinux_${platform}_$4"); done
    "$2/venv/bin/python" -m pip download "${options[@]}" --platform "manylinux2014_$4" --only-binary :all: --implementation cp \
        --python-version "$number" --abi "cp${number/./}" --abi abi3 --abi none --constraint "$2/constraints.txt" --requirement "$2/wheels.txt" pybind11 ||
        die "$EX_UNAVAILABLE" "the wheels for $3 on $4 could not be downloaded"
    "$2/venv/bin/python" -m pip download --quiet --disable-pip-version-check --dest "$1" --no-deps --no-binary hnswlib \
        --requirement "$2/source.txt" || die "$EX_UNAVAILABLE" "the source of hnswlib could not be downloaded"
    say "hnswlib has no wheel: its source is included and built on the scanner, which needs g++ and python3-dev"
    if [ "$3" = trixie ]; then note "trixie also has a package: after sudo apt install python3-hnswlib nothing is built"; fi
}
