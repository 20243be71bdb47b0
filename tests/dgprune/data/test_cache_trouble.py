"""A cache that cannot be written, is written by two, or whose writer is killed."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dgprune.data.cache_folders import owned
from tests.dgprune.data.loads import Listener, directly, domains_in, load

# Loads a folder, slowly, and tells what came out of it.
SLOW = """
import hashlib, json, sys, time
from pathlib import Path
from dgprune.data import folder
from tests.dgprune.data.loads import Listener, load
read_image = folder.read_image
def slow(path):
    time.sleep(float(sys.argv[2]))
    return read_image(path)
folder.read_image = slow
listener = Listener()
pixels = load(Path(sys.argv[1]), listener=listener).pixels
print(json.dumps([hashlib.sha256(pixels).hexdigest(), listener.decoded, listener.lines]))
"""


def start(folder: Path, seconds_an_image: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder), str(seconds_an_image)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def test_of_two_processes_one_decodes(photos: Path, cache: Path) -> None:
    processes = [start(photos, 0.03) for _ in range(2)]
    ends = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert ends[0][0] == ends[1][0]
    assert sum(decoded for _, decoded, _ in ends) == 60
    assert [lines for _, _, lines in ends] == [[], []]
    listener = Listener()
    assert np.array_equal(load(photos, listener=listener).pixels, directly(photos))
    assert (listener.decoded, listener.lines) == (0, [])


def test_what_a_killed_process_left_is_not_used_and_goes(photos: Path, cache: Path) -> None:
    process = start(photos, 0.2)
    while not (left := list((cache / "images").glob("*.tmp/pixels.npy"))):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stranger = left[0].parent.with_name(f"{'0' * 32}.01234567.tmp")
    shutil.copytree(left[0].parent, stranger)  # of a state of the data that is no more
    listener = Listener()
    assert np.array_equal(load(photos, listener=listener).pixels, directly(photos))
    assert (listener.decoded, listener.lines) == (60, [])
    assert list((cache / "images").glob("*.tmp")) == []
    assert set(domains_in(cache)) == {"domain0", "domain1", "domain2"}


def test_what_another_process_is_writing_stays(photos: Path, cache: Path) -> None:
    living = cache / "images" / f"{'0' * 32}.01234567.tmp"
    living.mkdir(parents=True)
    with owned(cache / "images" / ("0" * 32)):
        load(photos)
        assert living.is_dir()
    (cache / "images" / "holiday.tmp").mkdir()  # not ours
    load(photos, side=8)
    assert not living.exists() and (cache / "images" / "holiday.tmp").is_dir()


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_where_it_cannot_be_written_images_are_decoded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "file").write_text("hello")
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / where))
    listener = Listener()
    assert np.array_equal(load(photos, listener=listener).pixels, directly(photos))
    assert listener.decoded == 60 and len(listener.lines) == 1
    assert "decoding without a cache: cannot write" in listener.lines[0]
    assert "DGPRUNE_CACHE" in listener.lines[0]


def test_where_the_disk_is_too_small_nothing_is_begun(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=20 * 16 * 16 * 3 - 1)
    monkeypatch.setattr("dgprune.data.cache_folders.shutil.disk_usage", lambda path: usage)
    listener = Listener()
    assert np.array_equal(load(photos, listener=listener).pixels, directly(photos))
    assert listener.decoded == 60 and len(listener.lines) == 1
    assert "free some, or choose another DGPRUNE_CACHE" in listener.lines[0]
    assert domains_in(cache) == {}


def test_a_disk_that_fills_up_leaves_nothing(photos: Path, cache: Path) -> None:
    load(photos, side=8)  # the folder is there, and works
    before = domains_in(cache)
    listener = Listener()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        found = load(photos, listener=listener).pixels
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(found, directly(photos))
    assert len(listener.lines) == 1 and "no space left; free some" in listener.lines[0]
    assert domains_in(cache) == before


def test_a_cache_that_can_only_be_read_is_read(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(photos)
    touch = Path.touch

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        if cache in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        touch(path)

    monkeypatch.setattr(Path, "touch", refuse)
    listener = Listener()
    load(photos, listener=listener)
    assert (listener.decoded, listener.lines) == (0, [])
    load(photos, listener=listener, side=8)
    assert listener.decoded == 60 and len(listener.lines) == 1
    assert "not writable" in listener.lines[0]


def test_a_digest_is_computed_once_a_process(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgprune import schema
    from dgprune.data import pixel_cache

    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return schema.file_sha256(path)

    monkeypatch.setattr(pixel_cache, "file_sha256", counted)
    for _ in range(3):
        load(photos)
    assert len(hashed) == 3
    file = hashed[0]
    os.utime(file, ns=(0, 0))  # the file is another one, as far as a process can tell
    load(photos)
    assert len(hashed) == 4
