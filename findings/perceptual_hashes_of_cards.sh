#!/usr/bin/env bash
# ImageHash 4.3.2, OpenCV 4.12.0 (contrib), Daft 0.7.26: perceptual hashes of the same name are not the same hash.
#
# Guess: "pHash" of 64 bits is one method, so hashes of the same image from two libraries differ by a few bits at most
# and a database of cards that was made with one can be asked with another. Daft's `whash` equals ImageHash's bit for
# bit, as its documentation says.
# Seen, for 20 drawn pictures of the size of a card:
#   - `cv2.img_hash.pHash` and `imagehash.phash` differ in 31.8 of 64 bits on average, like unrelated pictures; it is
#     the order of the bits in each byte: turned around, 4.2 differ;
#   - Daft's "phash" is close to ImageHash's (2.7 bits), its "dhash" is not (9.9): cards are often told apart by fewer;
#   - Daft's "whash" differs from ImageHash's for each of them, by up to 10 bits.
# What follows for a user: a database of hashes is to name the library and version that made it, and is asked with that.
#
# Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "ImageHash==4.3.2" "opencv-contrib-python-headless==4.12.0.88" "daft==0.7.26" "numpy==2.2.6" "pillow==11.3.0"
cd "$work"
export DO_NOT_TRACK=1 DAFT_PROGRESS_BAR=0
"$work/venv/bin/python" -I - <<'PYTHON'
import io
import sys

import cv2
import daft
import imagehash
import numpy as np
from PIL import Image


def drawn(seed):
    random = np.random.default_rng(seed)
    picture = np.full((352, 252, 3), 235, np.uint8)
    for _ in range(12):
        center = (int(random.integers(26, 226)), int(random.integers(26, 326)))
        axes = (int(random.integers(10, 70)), int(random.integers(10, 70)))
        color = [int(value) for value in random.integers(0, 256, 3)]
        cv2.ellipse(picture, center, axes, int(random.integers(0, 180)), 0, 360, color, -1)
    return picture


def png(picture):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def by_imagehash(method):
    return np.array([method(Image.fromarray(each)).hash.ravel() for each in PICTURES])


def by_daft(method):
    image = daft.functions.decode_image(daft.col("png"))
    table = daft.from_pydict({"png": [png(each) for each in PICTURES]})
    found = table.select(daft.functions.image_hash(image, method=method).alias("hash")).to_pydict()["hash"]
    return np.array([np.unpackbits(np.frombuffer(each, np.uint8)) for each in found])


def differing(first, second):
    return (first != second).sum(axis=1)


PICTURES = [drawn(seed) for seed in range(20)]
phash = by_imagehash(imagehash.phash)
opencv = np.array([np.unpackbits(cv2.img_hash.pHash(each[..., ::-1].copy())[0]) for each in PICTURES])
turned = opencv.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)
found = {
    "pHash, OpenCV and ImageHash": differing(phash, opencv),
    "pHash, OpenCV with the bits of each byte turned around": differing(phash, turned),
    "phash, Daft and ImageHash": differing(phash, by_daft("phash")),
    "dhash, Daft and ImageHash": differing(by_imagehash(imagehash.dhash), by_daft("dhash")),
    "whash, Daft and ImageHash": differing(by_imagehash(imagehash.whash), by_daft("whash")),
}
for name, bits in found.items():
    print(f"{name}: {bits.mean():.1f} of 64 bits differ on average, {bits.max()} at most, {np.count_nonzero(bits)} of 20 pictures")
plain, mended, phash_daft, dhash_daft, whash_daft = found.values()
as_described = (
    28 < plain.mean() < 36
    and mended.mean() < 6
    and phash_daft.mean() < 6
    and dhash_daft.mean() > 6
    and np.count_nonzero(whash_daft) > 10
)
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
