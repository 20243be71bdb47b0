"""The README of an artefact folder: its program runs where neither torch nor dgprune are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dgprune.artefact import open_artefact
from export.export_checkpoint import README, export
from export.folder_readme import program
from export.spec import ExportSpec
from tests.conftest import TinyChain

# Only what a device has may be imported; the README's own lines follow.
GUARD = """
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "dgprune", "export", "onnx", "scipy"):
            raise ImportError(f"a device has no {name}")
sys.meta_path.insert(0, Guard())
"""


def code_of(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / README).read_text(), re.DOTALL)
    return str(code)


def run(folder: Path, image: Path) -> str:
    copy = folder / "image.jpg"
    Image.open(image).convert("RGB").resize((70, 50)).save(copy)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", GUARD + code_of(folder)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        copy.unlink()
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize(
    "change", [{}, {"with_preprocessing": True}, {"batch": "3"}, {"precision": "bf16"}]
)
def test_the_program_of_the_readme_runs_alone(
    chain: TinyChain, tmp_path: Path, form: str, change: dict[str, object]
) -> None:
    pytest.importorskip(form if form == "openvino" else "onnxruntime")
    spec = ExportSpec(
        checkpoint=str(chain.dense),
        data=chain.data,
        format=form,  # type: ignore[arg-type]
        parity_images=4,
        **change,  # type: ignore[arg-type]
    )
    folder = export(spec, tmp_path / "s").path
    code = code_of(folder)
    assert code.strip() == program(open_artefact(folder).artefact).strip()
    assert len(code.splitlines()) <= 10
    found = {run(folder, Path(chain.data) / "domain0" / f"class{i}" / "0.png") for i in (0, 1)}
    assert found <= {"class0", "class1"}


def test_the_readme_tells_what_was_measured(chain: TinyChain) -> None:
    text = (chain.pruned_artefact / README).read_text()
    sidecar = open_artefact(chain.pruned_artefact).artefact
    assert sidecar.sha256 in text
    assert "domain0 2 of 2; domain1 2 of 2" in text
    assert "'domain2' of noise held out" in text
    compile(code_of(chain.pruned_artefact), "README.md", "exec")
