"""The project around the code: packages, pins, make targets, the container's steps."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dgprune import __version__
from dgprune.store import lines_text

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTRUCTIONS = {
    "ARG": r"[A-Z_]+=.*",
    "CMD": r"\[.*\]",
    "COPY": r"\. \.",
    "ENTRYPOINT": r"\[.*\]",
    "ENV": r"([A-Z_]+=\S+ ?)+",
    "FROM": r"\$\{BASE\}",
    "RUN": r".+",
    "USER": r"runner",
    "WORKDIR": r"/\S+",
}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def container_steps() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_package_is_declared() -> None:
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for top in ("benchmark", "dgprune", "export", "pruning", "reports")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_data_file_is_packed() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("dgprune", "reports"):
        root = ROOT / package
        packed = [list(root.glob(pattern)) for pattern in patterns[package]]
        assert all(packed)  # no pattern that finds nothing
        data = {
            path
            for path in root.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
            if root / "published" not in path.parents
        }
        assert data <= {path for found in packed for path in found}


@pytest.mark.parametrize("group", ["base", *PROJECT["project"]["optional-dependencies"]])
def test_every_installed_dependency_is_pinned_within_its_range(group: str) -> None:
    project = PROJECT["project"]
    wanted = project["dependencies"] if group == "base" else project["optional-dependencies"][group]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_extras_are_the_promised_ones_and_runtimes_do_not_clash() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"gpu", "openvino", "tensorrt", "ray", "dev"} <= extras.keys()
    assert not any(r.startswith("onnxruntime>") for r in PROJECT["project"]["dependencies"])
    assert not any("onnxruntime>" in r for r in extras["gpu"])


def test_torch_is_pinned_without_a_local_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins()["torch"])


def test_ci_runs_the_readmes_test_command() -> None:
    ci = (ROOT / ".ci/run").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "make test" in ci.splitlines()
    assert "rm -rf .venv" in ci
    assert "make quickstart" in readme
    assert "make test" in readme
    assert {"quickstart", "test", "lint", "install"} <= make_targets()


def test_make_names_every_step(tmp_path: Path) -> None:
    out = subprocess.run(
        ["make", "--dry-run", "test", f"VENV={tmp_path}/venv", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "-m venv" in out
    assert "-c constraints.txt" in out
    assert "-m pytest" in out


def test_the_container_parses_and_runs_the_steps_of_make() -> None:
    steps = container_steps()
    for name, rest in steps:
        assert re.fullmatch(INSTRUCTIONS[name], rest), f"{name} {rest}"
    assert [name for name, _ in steps].index("FROM") == 1
    called = {
        t for name, rest in steps if name == "RUN" for t in re.findall(r"make ([a-z]+)", rest)
    }
    assert called == {"install"}
    assert called <= make_targets()
    assert ("ENTRYPOINT", '["dgprune"]') in steps


def test_container_shell_steps_are_valid_shell() -> None:
    for name, rest in container_steps():
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_file_names_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    words = re.compile(
        r"/(?:home|root)/\w|index[-]url|https?://(?!arxiv\.org|www\.apache\.org)\S+pypi"
    )
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix in (".png", ".webp") or path == Path(__file__).resolve():
            continue
        if path.suffix == ".parquet":  # `verify` holds its values to those of the CSV beside it
            assert path.with_suffix(".csv").is_file(), name
            continue
        assert not words.search(lines_text(path)), name
