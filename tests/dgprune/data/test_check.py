"""`dgprune data check`: PACS-shaped folders, right and with one thing wrong at a time."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgprune import cli
from dgprune.data import known
from dgprune.data.check import CheckSpec, check_folder
from dgprune.data.known import guess, known_set
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT

SHARED = Path(__file__).parents[4] / "shared" / "data" / "pacs"
PACS = ("art_painting", "cartoon", "photo", "sketch")
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
TWICE = "(same bytes) in two domains: the held-out one would be trained on"


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8))


def make_pacs(root: Path, domains: tuple[str, ...] = PACS) -> Path:
    """Two images a class and domain, all different."""
    for d, domain in enumerate(domains):
        for c, name in enumerate(CLASSES):
            (root / domain / name).mkdir(parents=True)
            for i in range(2):
                noise(100 * d + 10 * c + i).save(root / domain / name / f"{i}.png")
    return root


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    return make_pacs(tmp_path / "PACS")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PACS of fourteen images a domain."""
    first, *others = known.KNOWN
    domains = tuple(replace(domain, counts=(14,)) for domain in first.domains)
    tiny = replace(first, domains=domains, images=(56,))
    monkeypatch.setattr(known, "KNOWN", (tiny, *others))


def problems(folder: Path, name: str | None = None) -> list[str]:
    found = check_folder(CheckSpec(root=folder, name=name), SILENT)
    return [finding.text for finding in found.problems]


def resaved(root: Path, old: str, new: str) -> None:
    with Image.open(root / old) as image:
        image.save(root / new)


WRONG: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda root: None, []),
    "unreadable": (
        lambda root: (root / "photo/dog/0.png").write_bytes(b"hello"),
        ["photo/dog/0.png is unreadable (cannot identify image file"],
    ),
    "cut": (
        lambda root: (root / "photo/dog/0.png").write_bytes(
            (root / "photo/dog/0.png").read_bytes()[:-40]
        ),
        ["photo/dog/0.png is unreadable (image file is truncated"],
    ),
    "same bytes across domains": (
        lambda root: shutil.copy(root / "photo/dog/0.png", root / "sketch/dog/1.png"),
        [f"photo/dog/0.png = sketch/dog/1.png {TWICE}"],
    ),
    "same pixels across domains": (
        lambda root: (
            (root / "sketch/dog/1.png").unlink(),
            resaved(root, "photo/dog/0.png", "sketch/dog/1.bmp"),
        ),
        [f"photo/dog/0.png = sketch/dog/1.bmp {TWICE.replace('bytes', 'pixels')}"],
    ),
    "in two classes": (
        lambda root: shutil.copy(root / "photo/dog/0.png", root / "photo/horse/1.png"),
        ["photo/dog/0.png = photo/horse/1.png (same bytes) in two classes"],
    ),
    "twice in a class": (
        lambda root: shutil.copy(root / "photo/dog/0.png", root / "photo/dog/1.png"),
        [],
    ),
    "one too few": (
        lambda root: (root / "photo/dog/0.png").unlink(),
        ["photo has 13 images, pacs has 14", "55 images in all, pacs has 56"],
    ),
    "an empty class": (
        lambda root: [
            shutil.move(root / f"photo/dog/{i}.png", root / f"photo/horse/{i + 2}.png")
            for i in range(2)
        ],
        ["class photo/dog has no image"],
    ),
    "a class less": (
        lambda root: [
            *(shutil.move(root / "photo/dog" / f"{i}.png", root / f"photo/horse/{i + 2}.png")
              for i in range(2)),
            (root / "photo/dog").rmdir(),
        ],
        ["class dog has no folder in photo"],
    ),
    "no image": (
        lambda root: (root / "photo/dog/notes.txt").write_text("x"),
        ["photo/dog/notes.txt is not an image by its name"],
    ),
    "harmless files": (
        lambda root: [
            (root / "README.txt").write_text("x"),
            (root / "photo/dog/Thumbs.db").write_text("x"),
            (root / "photo/dog/.DS_Store").write_text("x"),
            (root / "__MACOSX").mkdir(),
        ],
        [],
    ),
    "a name that is not UTF-8": (
        lambda root: (root / "photo/dog/0.png").rename(root / "photo/dog/\udcff.png"),
        ["the file name 'photo/dog/\\udcff.png' is not UTF-8"],
    ),
    "an image beside": (
        lambda root: noise(7).save(root / "photo/0.png"),
        ["photo/0.png is in no domain/class folder: it is never read"],
    ),
    "a folder in a class": (
        lambda root: (root / "photo/dog/more").mkdir(),
        ["photo/dog/more is a folder in a class: it is never read"],
    ),
    "a domain more": (
        lambda root: (root / "splits").mkdir(),
        ["splits has no class folder", "splits is no domain of pacs"],
    ),
}  # fmt: skip


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("wrong", WRONG)
def test_each_thing_that_is_wrong_is_one_line(pacs: Path, wrong: str) -> None:
    harm, lines = WRONG[wrong]
    harm(pacs)
    found = problems(pacs)
    assert len(found) == len(lines), found
    for text, line in zip(found, lines, strict=True):
        assert text.startswith(line)


def test_the_published_counts_are_those_of_the_literature() -> None:
    totals = {k.name: [sum(d.counts[:1][0] for d in k.domains if d.counts)] for k in known.KNOWN}
    assert totals == {
        "pacs": [9991],
        "office-home": [15588],
        "vlcs": [10729],
        "terra-incognita": [0],  # by location they are not sure
        "domainnet": [586575],
    }
    for found in known.KNOWN:
        assert found.images[0] == (totals[found.name][0] or 24788)
    first_release = sum(domain.counts[-1] for domain in known_set("domainnet").domains)
    assert first_release == known_set("domainnet").images[1]


def test_a_made_up_pacs_has_the_wrong_counts(pacs: Path) -> None:
    assert problems(pacs)[:2] == [
        "art_painting has 14 images, pacs has 2048",
        "cartoon has 14 images, pacs has 2344",
    ]
    assert "56 images in all, pacs has 9991" in problems(pacs)


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        (("Art", "Clipart", "Product", "Real_World"), "office-home"),
        (("art", "clipart", "product", "RealWorld"), "office-home"),
        (("art painting", "cartoon", "photo", "sketch"), "pacs"),
        (("Art_Painting", "Cartoon", "Photo"), "pacs"),
        (("CALTECH", "LABELME", "PASCAL", "SUN"), "vlcs"),
        (("Caltech101", "LabelMe", "SUN09", "VOC2007"), "vlcs"),
        (("L100", "L38", "L43", "L46"), "terra-incognita"),
        (("location_100", "location_38", "location_43", "location_46"), "terra-incognita"),
        (("clipart", "infograph", "painting", "quickdraw", "real", "sketch"), "domainnet"),
        (("clipart", "painting", "real", "sketch"), "domainnet"),
        (("photo", "sketch"), None),
        (("domain0", "domain1"), None),
    ],
)
def test_the_name_is_guessed_from_the_domains(folders: tuple[str, ...], name: str | None) -> None:
    found = guess(folders)
    assert (found and found.name) == name


@pytest.mark.usefixtures("small")
def test_other_spellings_are_the_same_domains(tmp_path: Path) -> None:
    assert problems(make_pacs(tmp_path / "a", ("Art Painting", "CARTOON", "Photo", "sketch"))) == []


@pytest.mark.usefixtures("small")
def test_a_missing_domain_is_named(pacs: Path) -> None:
    shutil.rmtree(pacs / "cartoon")
    assert problems(pacs) == [
        "domain cartoon of pacs is missing",
        "42 images in all, pacs has 56",
    ]


def test_a_folder_of_no_known_set_has_no_counts_to_differ_from(data_folder: Path) -> None:
    found = check_folder(CheckSpec(root=data_folder), SILENT)
    assert found.known is None and found.problems == ()
    assert "no published counts" in found.findings[0].text
    named = check_folder(CheckSpec(root=data_folder, name="vlcs"), SILENT)
    assert "domain LabelMe of vlcs is missing" in [finding.text for finding in named.problems]


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_what_is_no_data_folder(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty" / "domain0" / "class0").mkdir(parents=True)
    assert cli._exit_code(["data", "check", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert str(tmp_path / name) in err and "give" in err


def test_a_name_that_is_not_known(pacs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["data", "check", str(pacs), "--name", "ofice-home"]) == 2
    assert "did you mean 'office-home'?" in capsys.readouterr().err
    with pytest.raises(DgpruneError, match="must be one of pacs, office-home"):
        known_set("imagenet")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="PACS is not beside this: ../shared/data/pacs")
def test_the_real_pacs_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["data", "check", str(SHARED), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["images"], found["classes"]) == ("pacs", 9991, 7)
    assert (found["problems"], found["notes"]) == ([], [])
