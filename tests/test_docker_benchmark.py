"""The scripts of the container, with stand-ins for docker, nvidia-smi and Python on the path."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = tuple(sorted((ROOT / "docker").glob("*.sh")))
STAND_INS = {
    # Answers queries from the environment, and remembers persistence mode and clocks in a file.
    "nvidia-smi": """
echo "nvidia-smi $*" >> "$CALLS"
case "$*" in
    *driver_version\\ *) echo "$DRIVER" ;;
    *default_applications*) echo "${DEFAULT_MHZ:-1980}" ;;
    *query-gpu=persistence_mode*) echo "${PERSISTENCE:-Disabled}" ;;
    *query-gpu=name*) echo "name, persistence_mode"; echo "Fake GPU, ${PERSISTENCE:-Disabled}" ;;
esac
""",
    "python": 'echo "python $* ORT=$ORT_DISABLE_TELEMETRY" >> "$CALLS"; eval "${WORK:-:}"',
    "opt_in_out": 'echo "opt_in_out $*" >> "$CALLS"',
    "id": 'echo "${FAKE_UID:-1000}"',
    "setpriv": """
echo "setpriv $1 $2" >> "$CALLS"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
""",
    "docker": 'for word in "$@"; do echo "docker $word" >> "$CALLS"; done',
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Folders of one run, and what the stand-ins were called with."""

    bin: Path
    data: Path
    out: Path

    @property
    def calls(self) -> list[str]:
        path = self.bin.parent / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "CALLS": str(self.bin.parent / "calls"),
            "DATA": str(self.data),
            "OUT": str(self.out),
            "DRIVER": "580.65.06",
            **more,
        }

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "docker" / script)],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(bin=tmp_path / "bin", data=tmp_path / "data", out=tmp_path / "out")
    for folder in (made.bin, made.data, made.out):
        folder.mkdir()
    for name, body in STAND_INS.items():
        (made.bin / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (made.bin / name).chmod(0o755)
    return made


def settings_changed(place: Place) -> list[str]:
    return [call for call in place.calls if "-clocks" in call or "-mode=" in call]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid_executable_and_strict(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text().splitlines()


def test_all_is_measured_without_telemetry_and_without_a_changed_setting(place: Place) -> None:
    done = place.run("benchmark.sh", WEIGHTS="w.safetensors", MINUTES="7")
    assert done.returncode == 0, done.stderr
    arguments = f"{place.data} w.safetensors {place.out} 7"
    assert f"python -m tests.benchmarks.gpu_check {arguments} ORT=1" in place.calls
    assert "opt_in_out --opt_out" in place.calls
    assert not settings_changed(place)
    assert not any(call.startswith("setpriv") for call in place.calls)
    for moment in ("start", "end"):
        assert "Fake GPU" in (place.out / f"clocks-{moment}.csv").read_text()
    assert not (place.out / "clocks-locked.csv").exists()


def test_clocks_are_locked_on_request_and_given_back(place: Place) -> None:
    done = place.run("benchmark.sh", LOCK_CLOCKS="1", FAKE_UID="0", RUN_AS="1234:1235")
    assert done.returncode == 0, done.stderr
    assert [call.split(" ", 2)[2] for call in settings_changed(place)] == [
        "--persistence-mode=1",
        "--lock-gpu-clocks=1980,1980",
        "--reset-gpu-clocks",
        "--persistence-mode=0",
    ]
    assert "setpriv --reuid=1234 --regid=1235" in place.calls
    assert (place.out / "clocks-locked.csv").exists()


def test_a_mode_that_was_on_stays_on_and_a_given_clock_is_taken(place: Place) -> None:
    place.run(
        "benchmark.sh",
        LOCK_CLOCKS="1",
        FAKE_UID="0",
        RUN_AS="5:5",
        PERSISTENCE="Enabled",
        CLOCK_MHZ="900",
    )
    assert [call.split(" ", 2)[2] for call in settings_changed(place)] == [
        "--lock-gpu-clocks=900,900",
        "--reset-gpu-clocks",
    ]


def test_clocks_are_given_back_where_the_work_fails(place: Place) -> None:
    done = place.run("benchmark.sh", LOCK_CLOCKS="1", FAKE_UID="0", RUN_AS="5:5", WORK="exit 9")
    assert done.returncode == 9
    assert settings_changed(place)[-1].endswith("--persistence-mode=0")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_clocks_are_given_back_where_the_container_is_stopped(
    place: Place, number: signal.Signals, code: int
) -> None:
    more = {"LOCK_CLOCKS": "1", "FAKE_UID": "0", "RUN_AS": "5:5", "WORK": "exec sleep 60"}
    process = subprocess.Popen(
        [str(ROOT / "docker" / "benchmark.sh")],
        env=place.environment(**more),
        stderr=subprocess.DEVNULL,
        # bash cannot trap what was ignored when it began, as in a suite that runs in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not any(call.startswith("python") for call in place.calls):
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    assert "--reset-gpu-clocks" in " ".join(settings_changed(place))
    assert (place.out / "clocks-end.csv").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"DRIVER": "570.86.10"}, "driver 570.86.10 is too old for CUDA 13; install 580 or later"),
        ({"DRIVER": "unknown"}, "tells no driver version but: unknown"),
        ({"FAKE_UID": "0"}, "records are not written as root; pass --user uid:gid"),
        ({"FAKE_UID": "0", "RUN_AS": "0:0"}, "records are not written as root"),
        ({"LOCK_CLOCKS": "1"}, "LOCK_CLOCKS=1 needs root and RUN_AS=uid:gid"),
        ({"DATA": "/nowhere"}, "no images at /nowhere; mount a folder"),
        ({"OUT": "/nowhere"}, "/nowhere cannot be written; mount a folder"),
        (
            {"LOCK_CLOCKS": "1", "FAKE_UID": "0", "RUN_AS": "5:5", "DEFAULT_MHZ": "[N/A]"},
            "tells no default clock ([N/A]); pass CLOCK_MHZ=number",
        ),
    ],
)
def test_what_cannot_work_is_one_clear_line(place: Place, more: dict[str, str], told: str) -> None:
    done = place.run("benchmark.sh", **more)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert told in lines[0]
    assert not any(call.startswith("python") for call in place.calls)


def test_a_container_without_a_driver_is_told(place: Place) -> None:
    (place.bin / "nvidia-smi").unlink()
    done = place.run("benchmark.sh")
    assert done.returncode == 2
    assert "no NVIDIA driver in here" in done.stderr


def test_the_image_is_built_and_started_as_the_user(place: Place, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.touch()
    done = place.run("run.sh", IMAGE="mine", WEIGHTS=str(weights), OUT=str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    words = [call.removeprefix("docker ") for call in place.calls]
    started = words[words.index("run") :]
    assert words[0] == "build"
    assert "EXTRAS=gpu,tensorrt,dev" in words
    assert started[-1] == "mine"
    assert started[started.index("--gpus") + 1] == "all"
    assert started[started.index("--user") + 1] == "1000:1000"
    assert f"{place.data}:/data:ro" in started
    assert f"{tmp_path / 'new'}:/out" in started
    assert f"{weights}:/weights.safetensors:ro" in started
    assert "--cap-add" not in started
    assert started[started.index("--shm-size") + 1] == "2g"  # 64 MiB are docker's own


def test_locking_clocks_starts_as_root_and_names_the_user(place: Place) -> None:
    place.run("run.sh", LOCK_CLOCKS="1", CLOCK_MHZ="1200")
    words = [call.removeprefix("docker ") for call in place.calls]
    assert words[words.index("--user") + 1] == "0:0"
    assert {"SYS_ADMIN", "RUN_AS=1000:1000", "CLOCK_MHZ=1200"} <= set(words)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"DATA": ""}, "name the images: make docker-bench DATA=folder"),
        ({"DATA": "/nowhere"}, "DATA=/nowhere is not a folder"),
        ({"WEIGHTS": "/nowhere.safetensors"}, "WEIGHTS=/nowhere.safetensors is not a file"),
        ({"FAKE_UID": "0"}, "not as root"),
    ],
)
def test_make_docker_bench_refuses_in_one_line(
    place: Place, more: dict[str, str], told: str
) -> None:
    done = place.run("run.sh", **more)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert told in line
    assert not place.calls


def test_a_missing_docker_is_told(place: Place) -> None:
    for name in ("bash", "dirname", "id"):
        if name != "id":
            (place.bin / name).symlink_to(f"/usr/bin/{name}")
    (place.bin / "docker").unlink()
    done = place.run("run.sh", PATH=str(place.bin))
    assert done.returncode == 2
    assert done.stderr.startswith("error: docker is not installed")


def test_the_scripts_are_where_the_image_and_make_look_for_them() -> None:
    assert "/opt/dgprune/docker/benchmark.sh" in (ROOT / "docker" / "run.sh").read_text()
    assert "WORKDIR /opt/dgprune" in (ROOT / "Dockerfile").read_text()
    assert "docker/run.sh" in (ROOT / "Makefile").read_text()
