"""Data: the digits, folders, the split, and the guard against leaks."""

import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgprune.data import (
    Preprocessing,
    Purpose,
    Sample,
    leave_one_out,
    load_images,
    open_data,
    to_input,
)
from dgprune.data.images import Loading
from dgprune.data.split import balanced
from dgprune.errors import DgpruneError, LeakError
from tests.conftest import make_folder

PREPROCESSING = Preprocessing(
    image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic"
)


def test_digits_are_1797_real_images_dealt_to_six_domains() -> None:
    data = open_data("rotated-digits")
    assert (len(data.samples), len(data.classes)) == (1797, 10)
    assert data.domains == ("rot00", "rot15", "rot30", "rot45", "rot60", "rot75")
    assert {len(data.of_domain(domain)) for domain in data.domains} == {299, 300}
    assert len({sample.key for sample in data.samples}) == 1797


def test_a_digit_is_turned_by_the_angle_of_its_domain() -> None:
    data = open_data("rotated-digits")
    upright, turned = data.of_domain("rot00")[0], data.of_domain("rot60")[0]
    assert np.asarray(data.read(upright))[0, 0].tolist() == [0, 0, 0]
    corners = np.asarray(data.read(turned))[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() < 30  # a turned square leaves its corners dark


def test_split_holds_the_target_out_and_cuts_80_to_20() -> None:
    data = open_data("rotated-digits")
    split = leave_one_out(data, "rot45")
    assert {s.domain for s in split.train} == {s.domain for s in split.validation}
    assert "rot45" not in {s.domain for s in [*split.train, *split.validation]}
    assert {s.domain for s in split.held_out} == {"rot45"}
    share = len(split.validation) / (len(split.train) + len(split.validation))
    assert share == pytest.approx(0.2, abs=0.01)
    assert not set(split.train) & set(split.validation)


def test_source_parts_do_not_depend_on_what_is_held_out() -> None:
    data = open_data("rotated-digits")
    one, other = leave_one_out(data, "rot45"), leave_one_out(data, "rot75")
    both = {"rot00", "rot15", "rot30", "rot60"}
    assert {s for s in one.validation if s.domain in both} == {
        s for s in other.validation if s.domain in both
    }


@given(seed=st.integers(0, 2**31))
def test_split_is_a_function_of_the_seed(seed: int) -> None:
    data = open_data("rotated-digits")
    assert leave_one_out(data, "rot75", seed=seed) == leave_one_out(data, "rot75", seed=seed)


def test_seeds_give_different_splits() -> None:
    data = open_data("rotated-digits")
    digests = {leave_one_out(data, "rot75", seed=seed).digest() for seed in range(3)}
    assert len(digests) == 3


def test_balanced_deals_evenly_over_domains_and_classes(data_folder: Path) -> None:
    split = leave_one_out(open_data(str(data_folder)), "domain0")
    chosen = balanced(split.train, 4, seed=1)
    assert {(s.domain, s.label) for s in chosen} == {
        (f"domain{d}", c) for d in (1, 2) for c in (0, 1)
    }


@given(
    sizes=st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=2, max_size=4),
    count=st.integers(1, 130),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None)
def test_domains_and_classes_are_dealt_as_even_as_the_images_allow(
    sizes: list[list[int]], count: int, seed: int
) -> None:
    piles = {(f"d{d}", c): n for d, row in enumerate(sizes) for c, n in enumerate(row)}
    samples = [
        Sample(key=f"{d}/{c}/{i}", domain=d, label=c)
        for (d, c), n in piles.items()
        for i in range(n)
    ]
    chosen = balanced(samples, count, seed=seed)
    assert len(set(chosen)) == len(chosen) == min(count, len(samples))
    assert chosen == balanced(samples, count, seed=seed)
    by_domain, by_pile = (
        Counter(s.domain for s in chosen),
        Counter((s.domain, s.label) for s in chosen),
    )
    whole = Counter(s.domain for s in samples)
    _require_even({d: by_domain[d] for d in whole}, whole)
    for domain in whole:
        mine = {pile: n for pile, n in piles.items() if pile[0] == domain}
        _require_even({pile: by_pile[pile] for pile in mine}, mine)


def _require_even(chosen: Mapping[Any, int], there: Mapping[Any, int]) -> None:
    """One that has more to give is at most one behind any other."""
    for key, count in chosen.items():
        assert count == there[key] or count >= max(chosen.values()) - 1


def test_a_few_images_of_many_classes_are_of_every_domain_and_of_different_classes() -> None:
    samples = [
        Sample(key=f"{d}/{c}/{i}", domain=d, label=c)
        for d in ("art", "clipart", "product")
        for c in range(65)
        for i in range(10)
    ]
    chosen = [balanced(samples, 64, seed=seed) for seed in range(2)]
    assert sorted(Counter(s.domain for s in chosen[0]).values()) == [21, 21, 22]
    assert len({s.label for s in chosen[0]}) == 64  # no class twice while there are others
    assert chosen[0] != chosen[1]


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.REPORT])
def test_a_target_image_is_refused_for_all_but_reporting(purpose: Purpose) -> None:
    data = open_data("rotated-digits")
    planted = [*data.of_domain("rot00")[:2], data.of_domain("rot75")[0]]
    loading = Loading(split=leave_one_out(data, "rot75"))
    with pytest.raises(LeakError, match=f"held-out domain 'rot75'; {purpose.value}"):
        load_images(data, planted, PREPROCESSING, purpose=purpose, loading=loading)
    images = load_images(data, planted, PREPROCESSING, purpose=Purpose.REPORT, loading=loading)
    assert images.pixels.shape == (3, 32, 32, 3)


def test_input_needs_no_memory_beside_itself_and_is_computed_as_ever() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3)).astype(np.uint8)
    preprocessing = Preprocessing(
        image_size=64,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
    )
    tracemalloc.start()
    found = to_input(pixels, preprocessing)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    mean, std = (np.asarray(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
    expected = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    assert np.array_equal(found, expected.transpose(0, 3, 1, 2))
    assert found.flags.c_contiguous
    assert peak < 1.2 * found.nbytes


def test_input_is_normalised_and_channel_first() -> None:
    pixels = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    pixels[..., 0] = 255
    inputs = to_input(pixels, PREPROCESSING)
    assert inputs.shape == (1, 3, 2, 2)
    assert inputs[0, 0, 0, 0] == pytest.approx(1.0)
    assert inputs[0, 1, 0, 0] == pytest.approx(-1.0)


def test_folder_digest_changes_with_a_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    before = open_data(str(folder)).file_digest
    (folder / "domain0" / "class0" / "0.png").unlink()
    assert open_data(str(folder)).file_digest != before


def test_bad_images_are_named_counted_and_skipped_on_request(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    (folder / "domain0" / "class0" / "1.png").write_bytes(b"not an image")
    (folder / "domain0" / "class0" / "2.png").write_bytes(b"")
    data = open_data(str(folder))
    samples, split = data.of_domain("domain0"), leave_one_out(data, "domain2")
    with pytest.raises(DgpruneError, match=r"2 unreadable image.*domain0/class0/1\.png"):
        load_images(
            data, samples, PREPROCESSING, purpose=Purpose.REPORT, loading=Loading(split=split)
        )
    loading = Loading(split=split, skip_bad_images=True)
    images = load_images(data, samples, PREPROCESSING, purpose=Purpose.REPORT, loading=loading)
    assert len(images) == len(samples) - 2
