"""Everything that the next step of a training depends on, as tensors and numbers, and back."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dgprune.schema import decode, encode
from pruning import averaging
from pruning.resume import Resume, optimiser_tensors, restore_optimiser
from pruning.training_record import Epoch

if TYPE_CHECKING:
    from pruning.training import Training


def save(run: "Training", resume: Resume) -> None:
    """Writes the state of `run`."""
    tensors = {
        "generator": run.feed.generator.get_state(),
        "order": run.cursor.order,
        **_named("model", run.model.state_dict()),
        **_named("best", run.best),
        **_named("optimiser", optimiser_tensors(run.optimiser)),
        **_named("average", averaging.tensors_of(run.average)),
    }
    if run.teacher is not None:
        tensors |= _named("projection", run.teacher.projection.state_dict())
    resume.write(
        tensors,
        {
            "step": run.cursor.step,
            "losses": run.cursor.read_losses(),
            "epochs": [encode(epoch) for epoch in run.epochs],
            "chosen": run.chosen,
            "average": averaging.numbers_of(run.average),
        },
    )


def restore(run: "Training", tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Puts `run`, made anew, where it was when its state was written."""

    def part(name: str) -> dict[str, Tensor]:
        prefix = f"{name}."
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        return {key: value.to(run.device) for key, value in found.items()}

    run.feed.generator.set_state(tensors["generator"])
    run.model.load_state_dict(part("model"))
    run.best = part("best")
    restore_optimiser(run.optimiser, part("optimiser"))
    averaging.restore(run.average, part("average"), numbers["average"])
    if run.teacher is not None:
        run.teacher.projection.load_state_dict(part("projection"))
    run.cursor.step, run.cursor.order = numbers["step"], tensors["order"]
    run.cursor.losses = [torch.tensor(loss, device=run.device) for loss in numbers["losses"]]
    run.epochs = [decode(Epoch, epoch, where="epoch") for epoch in numbers["epochs"]]
    run.chosen = numbers["chosen"]


def _named(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for key, value in tensors.items()}
