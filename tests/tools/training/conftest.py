"""Twenty-eight drawn cards: what every test of training begins with."""
# ruff: noqa: E402 - what needs PyTorch is imported once it is known to be there

import cv2
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: install the extra `train`")

from tests.tiny_training import draw
from tools.training.material import Material


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder as training expects it: 20 cards of set T1, 8 of T2, one pair that shares its artwork, 6 things that are no cards."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "negatives").mkdir()
    lines = ["card_id,name,set,number,rarity,image"]
    for number in range(28):
        card_set = "T1" if number < 20 else "T2"
        cv2.imwrite(str(folder / f"{number}.png"), draw(number))
        lines.append(f"{card_set}-{number},Card {number},{card_set},{number},C,{number}.png")
    (folder / "cards.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "same_artwork.json").write_text('[["T1-3", "T1-4"]]', encoding="utf-8")
    for number in range(6):
        cv2.imwrite(str(folder / "negatives" / f"{number}.png"), draw(1000 + number)[:200])
    return folder


@pytest.fixture(scope="session")
def material(data):
    return Material.read(data, ("T2",))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
