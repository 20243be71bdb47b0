"""Any bytes in a checkpoint folder: a model or one clear error, and nothing else happens."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgprune.checkpoint import load, load_model, open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.schema import canonical_json, decode, file_sha256, seal
from dgprune.structure import Structure
from tests.conftest import TinyChain

FILES = ("meta.json", "structure.json", "weights.safetensors")
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "socket.connect", "pickle.find_class")
settings.register_profile(
    "folder",
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FUZZ = settings.get_profile("folder")


class Watch:
    """What the interpreter's audit hook saw while `on`: writes, processes, sockets, pickles."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self.hook)  # a hook cannot be taken away again, so there is one

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(event)
        elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            self.seen.append(f"write {arguments[0]}")


WATCH = Watch()


class Parts(dict[str, bytes]):
    """The files of a checkpoint, not printed when an example fails."""

    def __repr__(self) -> str:
        return "parts"


@pytest.fixture(scope="session")
def parts(chain: TinyChain) -> Parts:
    load(chain.pruned)  # imports everything before the watch begins
    return Parts({name: (chain.pruned / name).read_bytes() for name in FILES})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "checkpoint"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def open_safely(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether the folder of these files gives a model; any error but our own gets through."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    WATCH.seen.clear()
    WATCH.on = True
    try:
        load_model(open_checkpoint(folder))
        return True
    except DgpruneError as error:
        assert str(error).strip()
        return False
    finally:
        WATCH.on = False
        assert WATCH.seen == []
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def sealed(files: dict[str, bytes], folder: Path) -> dict[str, bytes]:
    """The files with the digests in meta.json put right, as a forger would."""
    for name in FILES[1:]:
        (folder / name).write_bytes(files[name])
    meta = {key: value for key, value in json.loads(files["meta.json"]).items() if key != "id"}
    meta["structure_sha256"] = file_sha256(folder / "structure.json")
    meta["weights_sha256"] = file_sha256(folder / "weights.safetensors")
    return {**files, "meta.json": canonical_json(seal(meta)).encode()}


def test_an_untouched_folder_opens_in_the_same_way(folder: Path, parts: Parts) -> None:
    assert open_safely(folder, sealed(parts, folder))


@given(
    name=st.sampled_from(FILES),
    at=st.floats(0, 1),
    junk=st.binary(min_size=0, max_size=12),
    cut=st.integers(0, 40),
)
@FUZZ
def test_changed_bytes_are_found(
    folder: Path, parts: Parts, name: str, at: float, junk: bytes, cut: int
) -> None:
    data = parts[name]
    start = int(at * len(data))
    changed = data[:start] + junk + data[start + cut :]
    opened = open_safely(folder, {**parts, name: changed})
    assert not opened or changed == data or json_equal(name, changed, data)


def json_equal(name: str, one: bytes, other: bytes) -> bool:
    """A space more or less in meta.json changes nothing that it says."""
    return name == "meta.json" and json.loads(one) == json.loads(other)


VALUES = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, 10**30, -(10**9)]),
    st.floats(),
    st.none(),
    st.booleans(),
    st.text(max_size=6),
    st.sampled_from(
        [
            "hf-hub:someone/model",
            "local-dir:/etc",
            "../../etc/passwd",
            "vit_tiny_patch16_224",
            "vit_micro_patch4_32.pt",
            "vit_base_patch16_siglip_224",
            "resnet18",
        ]
    ),
    st.lists(st.integers(-1, 9), max_size=3),
)
FIELDS = (
    *("model", "image_size", "patch_size", "num_classes", "embed_dim", "prefix_tokens"),
    *("classifiers", "qkv_bias", "layer_scale", "class_position", "absolute_position"),
    *("relative_position", "blocks", "num_heads", "head_dim", "mlp_hidden"),
)


@given(field=st.sampled_from(FIELDS), value=VALUES, block=st.integers(0, 3))
@FUZZ
def test_a_forged_structure_is_refused(
    folder: Path, parts: Parts, field: str, value: object, block: int
) -> None:
    structure = json.loads(parts["structure.json"])
    place = structure if field in structure else structure["blocks"][block]
    place[field] = value
    text = json.dumps(structure).encode()
    opened = open_safely(folder, sealed({**parts, "structure.json": text}, folder))
    if opened:  # another spelling of the same value, such as "false"
        same = decode(Structure, structure, where="forged")
        assert same == decode(Structure, json.loads(parts["structure.json"]), where="whole")


@given(at=st.floats(0, 1), junk=st.binary(min_size=1, max_size=9), cut=st.integers(0, 9))
@FUZZ
def test_forged_weights_are_refused_or_only_other_numbers(
    folder: Path, parts: Parts, at: float, junk: bytes, cut: int
) -> None:
    data = parts["weights.safetensors"]
    header = 8 + int.from_bytes(data[:8], "little")
    start = int(at * header)
    forged = data[:start] + junk + data[start + cut :]
    open_safely(folder, sealed({**parts, "weights.safetensors": forged}, folder))
