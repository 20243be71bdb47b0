"""Makes timm importable where torch is a CPU build and torchvision a CUDA build.

PyPI's torchvision declares its compiled operators only where its CUDA libraries load; beside a CPU
torch its import ends in `operator torchvision::nms does not exist`. timm needs torchvision's
transforms only, so the two missing operator schemas are declared here, after exactly that error,
and nothing else is touched. Import this module before timm.
"""

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a Library that is collected takes its schemas away


def make_torchvision_importable() -> None:
    """Imports torchvision, declaring its missing operators first where that is what fails."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        _declared.append(library)
        import torchvision  # noqa: F401


make_torchvision_importable()
