"""What a checkpoint or an artefact is: structure, cost and where it came from."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from dgprune.artefact import is_artefact, open_artefact
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, Origin
from dgprune.schema import Json, encode
from dgprune.structure import Structure, cost_of


def inspect_folder(folder: Path) -> Json:
    """All that is known of `folder`; raises DgpruneError where it is neither kind, or changed."""
    if is_artefact(folder):
        artefact = open_artefact(folder).artefact
        return {
            "kind": "artefact",
            "protocol": artefact.origin.protocol,
            **encode(artefact),
            "cost": asdict(cost_of(artefact.structure)),
        }
    if (folder / "meta.json").is_file():
        from dgprune.checkpoint import open_checkpoint
        from dgprune.reached import read_reached

        checkpoint = open_checkpoint(folder)
        structure, reached = checkpoint.structure, read_reached(folder)
        return {
            "kind": "checkpoint",
            "protocol": checkpoint.meta.origin.protocol,
            **encode(checkpoint.meta),
            "structure": encode(structure),
            "cost": asdict(cost_of(structure)),
            **({} if reached is None else {"reached": asdict(reached)}),
        }
    if not folder.exists():
        raise DgpruneError(f"{folder}: no such folder; finetune, prune and export print theirs")
    raise DgpruneError(
        f"{folder} is neither a checkpoint nor an artefact folder, such as finetune, prune and "
        "export make; name one of those"
    )


def print_inspection(found: Json, *, as_json: bool) -> None:
    """A page for a person, or one JSON object."""
    if as_json:
        print(json.dumps(found))
        return
    from dgprune.reached import Reached
    from dgprune.schema import decode

    structure = decode(Structure, found["structure"], where=found["kind"])
    cost = found["cost"]
    print(f"{found['kind']} {found['label']} ({found['digest'][:12]})")
    print(
        f"  model      {structure.model}, {structure.image_size} px, "
        f"{structure.num_classes} classes"
    )
    print(
        f"  cost       {cost['macs_per_image'] / 1e6:.1f} M MACs, "
        f"{cost['parameters'] / 1e3:.0f} k weights"
    )
    if found["kind"] == "artefact":
        parity = found["parity"]
        print(
            f"  file       {found['file']}, {found['format']} {found['precision']}, "
            f"{found['size_bytes'] / 1e6:.2f} MB, batch {found['batch']}"
        )
        print(
            f"  parity     top-1 equal on {parity['top1_agreements']} of {parity['images']} "
            f"images, smallest cosine {parity['min_cosine']:.6f}"
        )
        if found["kept_fp32"]:
            print(f"  in fp32    {', '.join(found['kept_fp32'])}")
    if "reached" in found:
        print(f"  reached    {decode(Reached, found['reached'], where=found['kind']).text}")
    print(f"  width      {structure.embed_dim}")
    for index, block in enumerate(structure.blocks):
        print(
            f"  block {index:<4} {block.num_heads} heads x {block.head_dim}, MLP {block.mlp_hidden}"
        )
    origin = decode(Origin, found["origin"], where=found["kind"])
    print(f"  protocol   {origin.protocol}")
    print(f"  held out   {origin.held_out} of {origin.data_name}")
    for value in found["lineage"]:
        step = decode(LineageStep, value, where=found["kind"])
        told = [*_flat(step.spec)]
        if step.stage == "prune" and not step.spec.get("refit"):
            told.append("no refit")  # left out of the spec, which would read as not known
        print(f"  {step.stage:<10} {step.digest[:12]} {', '.join(told)}")


def _flat(spec: Json, before: str = "") -> Iterator[str]:
    """Every value of a spec with its name: `limits align_mlp 8`."""
    for key, value in spec.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name} ")
        elif isinstance(value, bool):
            yield name if value else f"no {name}"
        elif isinstance(value, list | tuple):
            yield from [f"{name} {' '.join(map(str, value))}"] if value else ()
        elif value is not None:
            yield f"{name} {value}"
