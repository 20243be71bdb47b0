"""Colours: told apart by readers who do not see all of them, and what no colour can be lost to."""

from itertools import combinations

import numpy as np
import pytest

from reports.charts.theme import CRITERIA, SERIES, config, criterion_colours

# Machado, Oliveira and Fernandes (2009), severity 1.0: linear RGB as such a reader sees it.
SEEN_BY = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
_TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
JUST_SEEN = 2.3  # CIELAB difference that half of all readers notice


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB at white D65."""
    xyz = np.array(_TO_XYZ) @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("reader", SEEN_BY)
@pytest.mark.parametrize("palette", [tuple(CRITERIA.values()), SERIES], ids=["criteria", "series"])
def test_every_two_colours_are_told_apart(palette: tuple[str, ...], reader: str) -> None:
    seen = {colour: lab(np.array(SEEN_BY[reader]) @ linear(colour)) for colour in palette}
    for one, other in combinations(palette, 2):
        difference = float(np.linalg.norm(seen[one] - seen[other]))
        assert difference > 3 * JUST_SEEN, (one, other, difference)


def test_a_criterion_keeps_its_colour_whatever_is_beside_it() -> None:
    few, all_of_them = criterion_colours(["taylor", "dense"]), criterion_colours(CRITERIA)
    colours = dict(zip(all_of_them["domain"], all_of_them["range"], strict=True))
    for name, colour in zip(few["domain"], few["range"], strict=True):
        assert colours[name] == colour == CRITERIA[name]


def test_criteria_that_are_not_known_get_colours_of_their_own() -> None:
    scale = criterion_colours(["l1", "mine", "yours", "theirs"])
    assert len(set(scale["range"])) == 4 and not set(scale["range"][1:]) & set(CRITERIA.values())


def test_text_and_lines_follow_the_page() -> None:
    found = config()
    assert found["background"] is None
    assert {found["axis"][key] for key in ("labelColor", "titleColor", "gridColor")} == {
        "currentColor"
    }
