"""Which package may import which: the architecture, walked over the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmark", "dgprune", "export", "pruning", "reports")
ALLOWED = {
    "dgprune": {"dgprune"},
    "pruning": {"pruning", "dgprune"},
    "export": {"export", "dgprune"},
    "benchmark": {"benchmark", "dgprune"},
    "reports": {"reports", "dgprune"},
}
EXCEPTIONS = {
    "dgprune/cli.py": {"benchmark.cli", "export.cli", "pruning.cli", "reports.cli"},
    # `doctor` makes torch-pruning trace a model as pruning does it, TensorRT build as export does.
    "benchmark/doctor.py": {"pruning.groups", "export.spec", "export.tensorrt_engine"},
}
TORCH_FREE = ("dgprune.records", "dgprune.statistics", "dgprune.store", "dgprune.structure")


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_the_architecture_allows(package: str) -> None:
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for module in imported_modules(path):
            top = module.split(".")[0]
            allowed = top in ALLOWED[package] or module in EXCEPTIONS.get(name, set())
            if top in PACKAGES and not allowed:
                wrong.append(f"{name} imports {module}")
    assert not wrong


@pytest.mark.parametrize(
    "modules",
    [
        "reports.report, reports.cli, reports.terminal",
        "dgprune.cli",
        "benchmark.worker",
        "benchmark.profile_worker",
        ", ".join(TORCH_FREE),
    ],
)
def test_reports_worker_and_help_do_not_load_torch(modules: str) -> None:
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_timm_is_imported_behind_the_shim_only() -> None:
    users = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if any(module.split(".")[0] == "timm" for module in imported_modules(path))
    }
    assert "dgprune/models.py" in users
    for name, text in users.items():
        first = min(i for i in (text.find("import timm"), text.find("from timm")) if i >= 0)
        before = text[:first]
        behind_shim = "import dgprune.torchvision_shim" in before or "from dgprune.models" in before
        assert behind_shim, f"{name} imports timm before the shim"


def test_the_functions_of_the_commands_are_importable() -> None:
    from benchmark import bench, evaluate
    from export import export_onnx
    from pruning import finetune, prune

    assert all(map(callable, (bench, evaluate, export_onnx, finetune, prune)))
    with pytest.raises(ImportError):
        from pruning import no_such_thing  # noqa: F401


def test_the_command_line_starts_without_what_only_its_commands_need() -> None:
    """`dgprune --help` answers at once."""
    heavy = ("numpy", "PIL", "scipy", "pydantic", "torch")
    code = f"import sys, dgprune.cli; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
