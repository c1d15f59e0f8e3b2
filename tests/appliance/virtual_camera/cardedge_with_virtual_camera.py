"""Run ``cardedge`` with Picamera2 on libcamera's virtual camera. Runs inside the container; takes the arguments of ``cardedge``.

Replaces two parts of Picamera2 that assume a Raspberry Pi; its files stay as installed.
"""

import sys
import weakref

import libcamera
from picamera2 import picamera2 as library
from picamera2.allocators.libcameraallocator import LibcameraAllocator

from edge.cli.main import main


class TwoPlanes(LibcameraAllocator):
    """Allocates buffers with two planes, into which the virtual camera writes NV12; Picamera2's own allocator creates one."""

    owner = None

    def __init__(self):
        super().__init__(None)

    def allocate(self, libcamera_config, use_case):
        self.camera = TwoPlanes.owner().camera
        super().allocate(libcamera_config, use_case)
        self.camera = None  # libcamera cannot detect a camera again while it is referenced


def _remember_the_owner(initialize):
    def initialized(self):
        TwoPlanes.owner = weakref.ref(self)
        return initialize(self)

    return initialized


def _modes_without_a_raw_stream(self):
    wish = self.camera.generate_configuration([libcamera.StreamRole.Viewfinder]).at(0)
    return [{"format": str(wish.pixel_format), "size": (wish.size.width, wish.size.height)}]


library.DmaAllocator = TwoPlanes
library.Picamera2._initialize_camera = _remember_the_owner(library.Picamera2._initialize_camera)
library.Picamera2._get_raw_modes = _modes_without_a_raw_stream

if __name__ == "__main__":
    sys.exit(main())
