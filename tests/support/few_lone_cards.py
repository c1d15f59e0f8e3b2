"""A measurement of lone cards that a test has time for."""

from tools.evaluation import lone

FEW = {
    "OTHERS": 2,
    "LONE_COUNTS": (1,),
    "UNKNOWN": 2,
    "DRAWN_LAYOUTS": ("spell",),
    "_INDEXES": {1: 2},
    "_LEAST_UNKNOWN": 1,
}


def measure_few_lone_cards(patch, **changes) -> None:
    """Make ``tools.evaluation.lone`` measure one lone card of one drawn layout and of the catalog, each among two others."""
    for name, value in {**FEW, **changes}.items():
        patch.setattr(lone, name, value)
