"""What a timing process leaves: raw samples, block by block, and how they were taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dgprune.schema import Json

Arm = Literal["baseline", "candidate"]
_MOST_VOID = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """How long and how precisely to measure (latency protocol, version 1).

    `rounds` of a process are the least and the most, `replicas` the number of processes;
    `half_width` is what the interval of the speedup should reach, as a share of it.
    """

    tier: str
    warmup_s: float
    warmup_iterations: int
    warmup_blocks: int
    block_s: float
    block_iterations: tuple[int, int]
    rounds: tuple[int, int]
    cell_s: float
    half_width: float
    seed: int
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTime:
    """One call as the device's own clock saw it, and how long the host needed to launch it."""

    device_ns: int
    enqueue_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """Host latency of consecutive calls of one arm, in nanoseconds, in the order taken.

    On a device that has its own clock `device_ns` is what each call took there, and `enqueue_ns`
    what the host needed to launch it. `energy_uj` is what the block took where there is a counter.
    """

    arm: Arm
    round: int
    durations_ns: tuple[int, ...]
    device_ns: tuple[int, ...] = ()
    enqueue_ns: tuple[int, ...] = ()
    energy_uj: int | None = None

    def __post_init__(self) -> None:
        if not self.durations_ns or min(self.durations_ns) <= 0:
            raise ValueError(
                "durations_ns must be > 0: was the clock read before the device had finished?"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What an NVIDIA device does at one moment; its clock is that of the multiprocessors."""

    clock_mhz: int
    temperature_c: int
    power_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidRound:
    """A round that does not count, and what happened in it."""

    round: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One process that timed all arms in alternation.

    Replicas of equal `build` ran the same build of an engine. `stationary` tells whether the
    warm-up ended because the latency had settled; `load_average` is the machine's one-minute load
    just before; `device` is its state before the warm-up and at the end.
    """

    build: int
    stationary: bool
    load_average: float
    blocks: tuple[TimedBlock, ...]
    void: tuple[VoidRound, ...] = ()
    device: tuple[DeviceState, DeviceState] | None = None

    @property
    def counted(self) -> tuple[TimedBlock, ...]:
        """The blocks that count, of rounds that are not void."""
        return counted(self.blocks, self.void)

    @property
    def unstable(self) -> bool:
        """Whether more than a fifth of the rounds are void."""
        return unstable(self.blocks, self.void)


def unstable(blocks: Sequence[TimedBlock], void: Sequence[VoidRound]) -> bool:
    """Whether more than a fifth of the rounds are void."""
    return len(void) > _MOST_VOID * len({block.round for block in blocks})


def counted(blocks: Sequence[TimedBlock], void: Sequence[VoidRound]) -> tuple[TimedBlock, ...]:
    """The blocks of every round that is not void.

    All of them where more than a fifth is void: what is left is no better then, and the record is
    unstable and backs no verdict.
    """
    if not void or unstable(blocks, void):
        return tuple(blocks)
    left_out = {entry.round for entry in void}
    return tuple(block for block in blocks if block.round not in left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One arm alone in a fresh process.

    `load_ns` ends when the model is ready, `first_call_ns` is that of the first batch alone.
    `host_bytes` is the peak of the process's memory over what it had before the model was loaded,
    `device_bytes` what the device holds after the first call.
    """

    load_ns: int
    first_call_ns: int
    host_bytes: int
    device_bytes: int | None = None


def latency_of_schema_1(body: Json) -> Json:
    """A latency record as it was when one process was all that was timed."""
    kept = {key: body.pop(key) for key in ("stationary", "load_average", "blocks") if key in body}
    return {**body, "replicas": [{"build": 0, **kept}]}
