"""Decoded once: the same bits as decoding, whatever was done to the files in between."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from dgprune.data import Purpose, leave_one_out, load_images, open_data
from dgprune.data.images import Loading
from dgprune.errors import DgpruneError
from tests.bad_input_fixtures import damage
from tests.conftest import make_folder
from tests.dgprune.data.loads import Listener, directly, domains_in, load, preprocessing

DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "flipped": lambda mine, other: damage(mine / "pixels.npy", "flipped"),
    "truncated": lambda mine, other: damage(mine / "pixels.npy", "cut"),
    "a byte short": lambda mine, other: damage(mine / "pixels.npy", "cut-short"),
    "no pixels": lambda mine, other: damage(mine / "pixels.npy", "gone"),
    "half a sidecar": lambda mine, other: damage(mine / "pixels.json", "cut"),
    "no sidecar": lambda mine, other: damage(mine / "pixels.json", "gone"),
    "empty": lambda mine, other: [damage(path, "gone") for path in mine.iterdir()],
    "another domain's": lambda mine, other: (
        shutil.rmtree(mine),
        shutil.copytree(other, mine),
    ),
    "another domain's pixels": lambda mine, other: shutil.copy(other / "pixels.npy", mine),
    "a file": lambda mine, other: (shutil.rmtree(mine), mine.write_text("hello")),
    "a link": lambda mine, other: (shutil.rmtree(mine), mine.symlink_to(other)),
}


@pytest.mark.parametrize("interpolation", ["bicubic", "nearest"])
@pytest.mark.parametrize("side", [16, 40])
def test_the_same_bits_as_decoding(
    photos: Path, cache: Path, side: int, interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = directly(photos, side, interpolation)
    for _ in range(2):
        images = load(photos, side=side, interpolation=interpolation)
        assert np.array_equal(images.pixels, expected)
    monkeypatch.setenv("DGPRUNE_CACHE", "off")
    assert np.array_equal(load(photos, side=side, interpolation=interpolation).pixels, expected)


def test_sizes_and_interpolations_are_kept_apart(photos: Path, cache: Path) -> None:
    for side, interpolation in ((16, "bicubic"), (16, "nearest"), (8, "nearest")):
        found = load(photos, side=side, interpolation=interpolation)
        assert np.array_equal(found.pixels, directly(photos, side, interpolation))
    assert len([path for path in (cache / "images").iterdir() if path.is_dir()]) == 9


def test_nothing_is_decoded_twice(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Listener(), Listener()
    load(photos, listener=first)

    def opened(*arguments: object) -> NoReturn:
        raise AssertionError("an image was opened")

    monkeypatch.setattr("dgprune.data.folder.Image.open", opened)
    load(photos, listener=second)
    assert (first.decoded, second.decoded, second.lines) == (60, 0, [])


def test_off_keeps_nothing(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGPRUNE_CACHE", "off")
    monkeypatch.chdir(cache.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent / "home"))
    listener = Listener()
    for _ in range(2):
        load(photos, listener=listener)
    assert (listener.decoded, listener.lines) == (120, [])
    assert {path.name for path in cache.parent.iterdir()} == {"photos"}


def test_training_neither_writes_nor_reads_the_targets_file(photos: Path, cache: Path) -> None:
    data = open_data(str(photos))
    split, listener = leave_one_out(data, "domain2"), Listener()
    loading = Loading(split=split, progress=listener)

    def train() -> None:
        load_images(data, split.train, preprocessing(), purpose=Purpose.TRAIN, loading=loading)

    train()
    assert set(domains_in(cache)) == {"domain0", "domain1"}
    load(data, split.held_out)
    target = damage(domains_in(cache)["domain2"] / "pixels.npy", "flipped").read_bytes()
    train()
    assert listener.lines == []
    assert (domains_in(cache)["domain2"] / "pixels.npy").read_bytes() == target


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_not_as_it_was_written_is_made_again(photos: Path, cache: Path, how: str) -> None:
    load(photos)
    there = domains_in(cache)
    DAMAGE[how](there["domain1"], there["domain0"])
    listeners = Listener(), Listener()
    for listener in listeners:
        assert np.array_equal(load(photos, listener=listener).pixels, directly(photos))
    assert [listener.decoded for listener in listeners] == [20, 0]
    assert len(listeners[0].lines) == 1 and listeners[1].lines == []
    assert "decoding domain1 again: its cache is damaged" in listeners[0].lines[0]
    assert domains_in(cache) == there


def test_a_damaged_file_is_not_used_for_a_small_request(photos: Path, cache: Path) -> None:
    load(photos)
    damage(domains_in(cache)["domain1"] / "pixels.npy", "flipped")
    data = open_data(str(photos))
    last = data.of_domain("domain1")[-1:]
    assert np.array_equal(load(data, last).pixels[0], directly(photos)[39])


def test_a_changed_image_of_the_same_size_is_seen(photos: Path, cache: Path) -> None:
    file = photos / "domain0" / "class0" / "0.bmp"
    Image.new("RGB", (32, 32), "red").save(file)
    os.utime(file, ns=(10**18, 10**18))
    assert np.array_equal(load(photos).pixels, directly(photos))
    size = file.stat().st_size
    Image.new("RGB", (32, 32), "blue").save(file)
    os.utime(file, ns=(10**18, 10**18 + 1))
    assert file.stat().st_size == size
    assert np.array_equal(load(photos).pixels, directly(photos))


def test_another_folder_of_the_same_names_sizes_and_times(tmp_path: Path, cache: Path) -> None:
    for number, colour in enumerate(["red", "blue"]):
        root = make_folder(tmp_path / str(number) / "photos", images=0)
        for folder in root.glob("*/*"):
            for name in ("0.bmp", "1.bmp", "2.bmp"):
                Image.new("RGB", (32, 32), colour).save(folder / name)
                os.utime(folder / name, ns=(0, 0))
        assert np.array_equal(load(root).pixels, directly(root))


def test_a_small_request_does_not_decode_the_domain(photos: Path, cache: Path) -> None:
    data, listener = open_data(str(photos)), Listener()
    samples = data.of_domain("domain0")
    load(data, samples[:3], listener)
    assert listener.decoded == 3 and not cache.exists()
    load(data, samples[3:6], listener)  # six of twenty in all: worth the whole
    assert listener.decoded == 23 and set(domains_in(cache)) == {"domain0"}
    again = Listener()
    found = load(open_data(str(photos)), samples[19:], again)
    assert np.array_equal(found.pixels[0], directly(photos)[19]) and again.decoded == 0


def test_bad_images_are_told_and_skipped_as_without_a_cache(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, how in enumerate(("empty", "text", "cut")):
        damage(photos / "domain1" / "class0" / f"{number}.png", how)
    told: list[str] = []
    kept = []
    for where in (str(cache), str(cache), "off"):
        monkeypatch.setenv("DGPRUNE_CACHE", where)
        with pytest.raises(DgpruneError) as error:
            load(photos)
        listener = Listener()
        images = load(photos, listener=listener, skip=True)
        told.append(f"{error.value} {listener.lines}")
        kept.append((images.samples, images.labels.tolist(), images.pixels.tolist()))
        assert len(images) == 57
    assert "3 unreadable image(s)" in told[0]
    assert told[0] == told[1] == told[2] and kept[0] == kept[1] == kept[2]


def test_what_the_system_refuses_is_not_remembered(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgprune.data.folder import read_image

    def refuse(path: Path) -> Image.Image:
        if path.parent.parent.name == "domain1" and path.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return read_image(path)

    monkeypatch.setattr("dgprune.data.folder.read_image", refuse)
    listener = Listener()
    with pytest.raises(DgpruneError, match="2 unreadable.*Permission denied"):
        load(photos, listener=listener)
    assert ["without a cache" in line for line in listener.lines] == [True]
    assert set(domains_in(cache)) == {"domain0"}
    monkeypatch.undo()
    monkeypatch.setenv("DGPRUNE_CACHE", str(cache))
    assert np.array_equal(load(photos).pixels, directly(photos))


def test_a_sample_under_a_false_domain_is_its_own_image(photos: Path, cache: Path) -> None:
    from dataclasses import replace

    load(photos)
    data = open_data(str(photos))
    planted = replace(data.of_domain("domain2")[5], domain="domain0")
    assert np.array_equal(load(data, [planted]).pixels[0], directly(photos)[45])
