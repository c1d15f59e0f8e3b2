# shellcheck shell=bash
# Detects Raspberry Pi, Hailo board and camera, installs their packages and chooses backend and camera for the settings.

readonly SYS=$ROOT/sys DEV=$ROOT/dev PROC=$ROOT/proc

is_raspberry_pi() { grep -aqs '^Raspberry Pi' "$PROC/device-tree/model"; }

# hailo_slot [DEVICE]: print the PCI directory of the first Hailo board (vendor 1e60); 2864 is Hailo-8 and 8L, others need another HailoRT.
hailo_slot() {
    local slot
    for slot in "$SYS"/bus/pci/devices/*; do
        if grep -qsx 0x1e60 "$slot/vendor" && grep -qsx "${1:-0x2864}" "$slot/device"; then
            printf '%s' "$slot"
            return 0
        fi
    done
    return 1
}

# Driver, library and Python package: Raspberry Pi's metapackage, else the single packages known to apt.
hailo_packages() {
    local name
    if apt_knows hailo-all; then
        printf '%s\n' dkms hailo-all
        return
    fi
    apt_knows python3-hailort || return 0
    for name in dkms hailofw hailo-dkms hailort-pcie-driver hailort python3-hailort; do
        if apt_knows "$name"; then printf '%s\n' "$name"; fi
    done
}

provide_hailo() {
    local wanted
    if ! hailo_slot >/dev/null; then
        if hailo_slot '0x.*' >/dev/null; then
            note "This Hailo board is not a Hailo-8 or Hailo-8L: it needs HailoRT 5.x, which CardEdge does not support"
        fi
        return 0
    fi
    if is_installed python3-hailort; then return 0; fi
    refresh_lists
    mapfile -t wanted < <(hailo_packages)
    if [ ${#wanted[@]} -eq 0 ]; then
        note "A Hailo board is on the PCI bus, but apt knows neither hailo-all nor python3-hailort: add Raspberry Pi's package repository"
        return 0
    fi
    # the driver is built for the running kernel
    if [ ! -e "/lib/modules/$(uname -r)/build" ] && apt_knows linux-headers-rpi-2712; then wanted+=(linux-headers-rpi-2712); fi
    packages "${wanted[@]}"
    run modprobe hailo_pci || note "The NPU driver will be loaded at the next boot"
}

# provide_camera KIND: install Picamera2 on a Raspberry Pi or if KIND requests it.
provide_camera() {
    if [ "$1" != picamera2 ] && { [ -n "$1" ] || ! is_raspberry_pi; }; then return 0; fi
    if is_installed python3-picamera2; then return 0; fi
    refresh_lists
    if apt_knows python3-picamera2; then
        packages python3-picamera2
    elif [ -n "$1" ]; then
        die "$EX_UNAVAILABLE" "--camera picamera2: apt knows no python3-picamera2; it comes with Raspberry Pi OS"
    else
        note "apt knows no python3-picamera2: a Pi camera needs Raspberry Pi's package repository; USB and network cameras work without it"
    fi
}

# pcie_hint: print what to change if a Hailo board's link is below Gen3. Nothing is changed here.
pcie_hint() {
    local slot speed
    slot=$(hailo_slot) || return 0
    speed=$(cat "$slot/current_link_speed" 2>/dev/null) || return 0
    case $speed in
        2.5* | 5.0* | 5\ *)
            say "The NPU's link runs at ${speed% PCIe} (PCIe Gen2): a network that does not fit on the chip is streamed over it for every image and runs at half speed"
            note "for Gen3 add this line to /boot/firmware/config.txt, then reboot (an AI HAT+ enables it automatically, an AI Kit does not):"
            note "    dtparam=pciex1_gen=3"
            ;;
    esac
}

# memory_hint: MemoryMax needs the kernel's memory controller, which is disabled by default on a Raspberry Pi.
memory_hint() {
    local controllers="$SYS/fs/cgroup/cgroup.controllers"
    if is_raspberry_pi && [ -r "$controllers" ] && ! grep -qw memory "$controllers"; then
        note "This kernel does not limit the memory of services: add cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, then reboot"
    fi
}

has_hef() {
    "$python" - "$1" <<'PYTHON' 2>/dev/null
import json, pathlib, sys
for record in pathlib.Path(sys.argv[1]).glob("*/model.json"):
    artefact = json.loads(record.read_text()).get("artefacts", {}).get("hef")
    if artefact is not None and (record.parent / artefact["file"]).is_file():
        raise SystemExit(0)
raise SystemExit(1)
PYTHON
}

imports() { HAILORT_LOGGER_PATH=NONE timeout 60 "$1" -c "import $2" >/dev/null 2>&1; }

backend='' backend_why=''

# choose_backend VERSION: hailo if board, library and compiled network are present; sets $backend and $backend_why.
choose_backend() {
    backend=onnx
    if ! hailo_slot >/dev/null; then
        backend_why="no Hailo board on the PCI bus"
    elif ! imports "$1/bin/python" hailo_platform; then
        backend_why="a Hailo board is present, but hailo_platform cannot be imported: sudo apt install hailo-all"
    elif ! has_hef "$1/hef"; then
        backend_why="a Hailo board is present, but hef/ contains no network compiled for it: docs/raspberry-pi.md, Compile the network"
    else
        backend=hailo backend_why="Hailo board, library and compiled network are present"
    fi
}

# libcamera_number PYTHON: print the number of libcamera's first camera that is not a USB camera; those are better opened by OpenCV.
libcamera_number() {
    timeout 30 "$1" - <<'PYTHON' 2>/dev/null
from picamera2 import Picamera2
print(next(camera["Num"] for camera in Picamera2.global_camera_info() if "usb" not in camera["Id"].lower()))
PYTHON
}

camera_kind='' camera_source=''

# choose_camera KIND PYTHON: a Pi camera, else a USB camera, else none; sets $camera_kind and $camera_source. KIND, if given, is used.
choose_camera() {
    local usb
    # by id: the numbers of /dev/video* change between boots, and most of those on a Raspberry Pi are not cameras
    usb=$(compgen -G "$DEV/v4l/by-id/*-video-index0" | head -n 1 || true)
    if [ -z "$usb" ] && [ -e "$DEV/video0" ] && ! is_raspberry_pi; then usb=$DEV/video0; fi
    camera_kind=$1 camera_source=0
    case $1 in
        picamera2) ;;
        v4l2) camera_source=${usb:-$DEV/video0} ;;
        *)
            if camera_source=$(libcamera_number "$2"); then
                camera_kind=picamera2
            elif [ -n "$usb" ]; then
                camera_kind=v4l2 camera_source=$usb
            fi
            ;;
    esac
}
