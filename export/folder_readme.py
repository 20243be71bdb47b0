"""The README.md of an artefact folder: what the file is, and the lines that run it alone."""

from dgprune.artefact import Artefact, Parity
from dgprune.structure import cost_of

_PREPARE = """\
image = Image.open("image.jpg").convert("RGB").resize(({px}, {px}), Image.Resampling.{method})
"""
_NORMALISED = """\
pixels = np.asarray(image, np.float32) / 255
normalised = (pixels - {mean}) / {std}
x = np.repeat(normalised.transpose(2, 0, 1)[None], {batch}, 0).astype(np.float32, order="C")
"""
_PIXELS = """\
x = np.repeat(np.asarray(image)[None], {batch}, 0)
"""
_ONNX = """\
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["dgprune.classes"])
scores = session.run(None, {{"{input}": x}})[0][0]
print(classes[scores.argmax()])
"""
_OPENVINO = """\
precision = {{"INFERENCE_PRECISION_HINT": "{hint}"}}
model = openvino.Core().compile_model("{file}", "CPU", precision)
scores = model([x])[0][0]
print(json.load(open("artefact.json"))["origin"]["classes"][scores.argmax()])
"""
_TENSORRT = """\
engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(open("{file}", "rb").read())
context = engine.create_execution_context()
scores = np.empty(({batch}, {classes}), np.float32)
(_, source), (_, result) = cudart.cudaMalloc(x.nbytes), cudart.cudaMalloc(scores.nbytes)
to_device, to_host = cudart.cudaMemcpyKind(1), cudart.cudaMemcpyKind(2)
cudart.cudaMemcpy(source, x.ctypes.data, x.nbytes, to_device)
context.set_input_shape("{input}", x.shape)
context.set_tensor_address("{input}", source)
context.set_tensor_address("{output}", result)
context.execute_async_v3(0)
cudart.cudaMemcpy(scores.ctypes.data, result, scores.nbytes, to_host)
print(json.load(open("artefact.json"))["origin"]["classes"][scores[0].argmax()])
"""
_IMPORTS = {
    "onnx": "import json, numpy as np, onnxruntime\nfrom PIL import Image\n",
    "openvino": "import json, numpy as np, openvino\nfrom PIL import Image\n",
    "tensorrt": "import json, numpy as np, tensorrt as trt\n"
    "from cuda.bindings import runtime as cudart\nfrom PIL import Image\n",
}
_NEEDS = {
    "onnx": "onnxruntime, numpy and Pillow",
    "openvino": "openvino, numpy and Pillow",
    "tensorrt": "tensorrt, cuda-python, numpy and Pillow",
}
_RUNS = {"onnx": _ONNX, "openvino": _OPENVINO, "tensorrt": _TENSORRT}


def _runs_on(artefact: Artefact) -> str:
    """What the program uses: OpenVINO also for bf16 in ONNX, which ONNX Runtime's CPU lacks."""
    lacking = (artefact.format, artefact.precision) == ("onnx", "bf16")
    return "openvino" if lacking else artefact.format


def folder_readme(artefact: Artefact) -> str:
    """Markdown: identity, parity, and a program for a machine without torch and dgprune."""
    cost = cost_of(artefact.structure)
    origin = artefact.origin
    held_out = repr(origin.target) if origin.target else "20 % of every domain"
    files = ", ".join(f"`{name}`" for name in artefact.files)
    lines = [
        f"# {artefact.label}: {origin.model}, {artefact.format} {artefact.precision}",
        "",
        f"{files}: {artefact.size_bytes / 1e6:.1f} MB, {cost.macs_per_image / 1e6:.0f} M "
        f"multiply-accumulates an image, {len(origin.classes)} classes, "
        f"{origin.preprocessing.image_size} px, batch {artefact.batch}.",
        f"Made with {held_out} of {origin.data_name} held out. SHA-256 `{artefact.sha256}`.",
        "",
        _parity(artefact.parity),
        "",
        f"To run it where only {_NEEDS[_runs_on(artefact)]} are installed, in this folder:",
        "",
        "```python",
        program(artefact).rstrip(),
        "```",
        "",
        "Everything else that is known of it stands in `artefact.json`.",
    ]
    return "\n".join(lines) + "\n"


def program(artefact: Artefact) -> str:
    """Python that prints the class of `image.jpg`, with neither torch nor dgprune."""
    preprocessing = artefact.origin.preprocessing
    prepare = _PIXELS if artefact.with_preprocessing else _NORMALISED
    hint = "bf16" if artefact.precision == "bf16" else "f32"
    text = _PREPARE + prepare + _RUNS[_runs_on(artefact)]
    return _IMPORTS[_runs_on(artefact)] + text.format(
        px=preprocessing.image_size,
        method=preprocessing.interpolation.upper(),
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
        batch=1 if artefact.batch == "dynamic" else artefact.batch,
        file=artefact.file,
        input=artefact.input_name,
        output=artefact.output_name,
        classes=len(artefact.origin.classes),
        hint=hint,
    )


def _parity(parity: Parity) -> str:
    """What was measured against PyTorch."""
    domains = "; ".join(
        f"{name} {part.top1_agreements} of {part.images}" for name, part in parity.domains.items()
    )
    executed = ", ".join(f"{n} layers in {kind}" for kind, n in sorted(parity.executed.items()))
    return (
        f"Against PyTorch in fp32, on {parity.images} real images ({parity.runtime}, which ran "
        f"{executed}): largest "
        f"difference of an output {parity.max_abs_logit_difference:.1e}, smallest cosine "
        f"{parity.min_cosine:.6f}, the same top-1 class on {domains}."
    )
