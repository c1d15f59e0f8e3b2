"""Networks and schedules small enough for training in a test, and cards to train on."""

import cv2
import numpy as np

from tools.network.settings import ConvNextSettings, RegNetSettings
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.warm import WarmSettings

SIDE = 32
"""Pixels of the images that the tiny networks are trained on: a seventh of what a scanner's model takes."""

TINY = ConvNextSettings(depths=(1, 1), widths=(8, 16), layout_channels=8)
TINY_REGNET = RegNetSettings(stem=8, depths=(1, 2), widths=(8, 16), group_width=8, layout_channels=8)
"""Two stages in place of four: their last map has a pixel per 8 of the image, not per 32."""

FOUR_STAGES = ConvNextSettings(depths=(1, 1, 1, 1), widths=(8, 16, 16, 32), layout_channels=8)
FOUR_STAGES_REGNET = RegNetSettings(stem=8, depths=(1, 1, 2, 1), widths=(8, 16, 16, 32), group_width=8, layout_channels=8)
COURSE = Schedule(pictures=(ResolutionPhase(SIDE, 6, 0.7), ResolutionPhase(40, 4, 0.3)), steps=8, threads=1, workers=0, save_every_s=1e9)
WARM = WarmSettings(network=TINY, course=COURSE)


def draw(seed):
    random = np.random.default_rng(seed)
    image = np.full((352, 252, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(12):
        corners = random.integers(0, 252, (3, 2)).astype(np.int32)
        cv2.fillConvexPoly(image, corners, tuple(int(value) for value in random.integers(0, 256, 3)))
    return image


def write_data(folder):
    """Write a data folder for training: 20 cards of set T1, 8 of T2, one pair that shares its artwork, 6 images without a card."""
    (folder / "negatives").mkdir(parents=True)
    lines = ["card_id,name,set,number,rarity,image"]
    for number in range(28):
        card_set = "T1" if number < 20 else "T2"
        cv2.imwrite(str(folder / f"{number}.png"), draw(number))
        lines.append(f"{card_set}-{number},Card {number},{card_set},{number},C,{number}.png")
    (folder / "cards.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "same_artwork.json").write_text('[["T1-3", "T1-4"]]', encoding="utf-8")
    for number in range(6):
        cv2.imwrite(str(folder / "negatives" / f"{number}.png"), draw(1000 + number)[:200])
