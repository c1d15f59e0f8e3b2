# shellcheck shell=bash
# Creates a wheelhouse: a directory with everything pip needs on a machine without a network.

# Versions of the C library that wheels may be made for; Debian 12 has 2.36.
readonly GLIBC=(2_17 2_26 2_27 2_28 2_31 2_34 2_35 2_36)

# make_wheelhouse DIR TARGET: TARGET is empty for this machine, else bookworm or trixie, optionally with /ARCH (default aarch64).
make_wheelhouse() {
    local scratch with room names=(scanner numpy build) name options=()
    choose_python /usr/bin/python3 python3 python3.13 python3.12 python3.11
    run install -d "$1"
    if [ "$dry_run" = yes ]; then
        note "would fill $1 with the locked libraries for ${2:-this machine}"
        return 0
    fi
    if [ -n "$2" ]; then mapfile -t options < <(platform "$2"); fi
    # Debian 12, where numpy may be Debian's numpy 1
    case $2 in bookworm*) names+=(scanner-numpy1) ;; '') if [ "$(python_tag)" = cp311 ]; then names+=(scanner-numpy1); fi ;; esac
    mapfile -t -O "${#names[@]}" names < <(
        extras
        if [[ ${names[*]} == *numpy1* ]]; then extras | sed 's/$/-numpy1/'; fi
    )
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$scratch'" EXIT
    chmod 755 "$scratch"
    with="$scratch/venv/bin/python" room="$scratch/room"
    watched "$python" -m venv "$scratch/venv"
    for name in "${names[@]}"; do
        say "Downloading the libraries of $name"
        fetch "$with" "$1" "${options[@]}" "$(requirements "$name")"
    done
    add_hnswlib "$1" "$2"
    say "$(find "$1" -maxdepth 1 -name '*.whl' | wc -l) wheels in $1. On the scanner: sudo ./install.sh --wheelhouse $1"
}

# add_hnswlib DIR TARGET: add hnswlib, which has no wheels: built here, or for another system as source. Uses the variables of make_wheelhouse.
add_hnswlib() {
    if [ -z "$2" ]; then build_tools; fi
    fetch "$with" "$scratch/tools" "$(requirements build)" "$(requirements numpy)"
    build_room "$with" "$room" "$scratch/tools" build numpy
    if [ -z "$2" ]; then
        say "Building hnswlib"
        build_hnswlib "$with" "$room"
    else
        pip_in_room "$with" "$room" download "${SOURCE_ONLY[@]}" --dest built --requirement lock/source.txt
        say "hnswlib has no wheel: its source is included and built on the scanner, which needs g++ and python3-dev"
        case $2 in trixie*) note "trixie also has a package: after sudo apt install python3-hnswlib nothing is built" ;; esac
    fi
    cp --no-dereference "$room"/built/hnswlib-* "$1"
}

# platform TARGET: print pip's options for wheels of another system, one a line.
platform() {
    local python_version machine=aarch64 version
    case $1 in bookworm*) python_version=3.11 ;; trixie*) python_version=3.13 ;; esac
    case $1 in */*) machine=${1#*/} ;; esac
    printf '%s\n' --implementation=cp "--python-version=$python_version" "--abi=cp${python_version/./}" --abi=abi3 --abi=none
    printf -- "--platform=manylinux_%s_$machine\n" "${GLIBC[@]}"
    printf -- '--platform=manylinux2014_%s\n' "$machine"
}
