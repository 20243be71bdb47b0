"""What is recorded of the machine."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgprune.environment import cpu_name, current_environment, nvidia_device

_EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC
stepping\t: 1

processor\t: 1
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC
stepping\t: 1
"""
_ARM = """processor\t: 0
BogoMIPS\t: 108.00
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""


def test_generations_under_one_name_are_told_apart() -> None:
    milan, genoa = (cpu_name(_EPYC.format(model=model)) for model in (1, 17))
    assert milan == "AMD EPYC (family 25, model 1, stepping 1)"
    assert genoa == "AMD EPYC (family 25, model 17, stepping 1)"


def test_an_arm_board_is_named_by_its_maker_and_its_core() -> None:
    assert cpu_name(_ARM, "Raspberry Pi 5 Model B Rev 1.0\0") == (
        "Raspberry Pi 5 Model B Rev 1.0 (implementer 0x41, variant 0x4, part 0xd0b, revision 1)"
    )


def test_without_any_of_it_there_is_still_a_name() -> None:
    assert cpu_name("") == cpu_name("", "\0") != ""


def test_the_environment_holds_it() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        pytest.skip("no /proc/cpuinfo on this system")
    assert current_environment().cpu.endswith(cpu_name(cpuinfo.read_text()).rpartition(" (")[2])


@pytest.mark.parametrize(
    ("visible", "device"),
    [
        (None, "number 0"),
        ("1", "number 1"),
        ("3,1", "number 3"),
        ("GPU-8932f937-d72c", "GPU-8932f937-d72c"),
        ("", None),
        ("-1", None),
    ],
)
def test_the_device_that_is_watched_is_the_one_that_cuda_sees(
    visible: str | None, device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_index(index: int) -> str:
        if not 0 <= index < 4:
            raise RuntimeError("Invalid Argument")  # NVML's own error
        return f"number {index}"

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetHandleByUUID=lambda name: name,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvidia_device() == (None if device is None else (nvml, device))
