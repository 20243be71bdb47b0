"""What counts as a fallback: another precision, another device, or nothing seen at all."""

import pytest

from dgprune.errors import DgpruneError
from dgprune.proof import Layer, Wanted, prove, require
from dgprune.runtimes import first_line


def layers(*kinds: str, precision: str = "fp32") -> tuple[Layer, ...]:
    return tuple(
        Layer(name=str(i), kind=kind, precision=precision, provider="cpu")
        for i, kind in enumerate(kinds)
    )


def wanted(precision: str, **counts: int) -> Wanted:
    return Wanted(precision=precision, layers=counts, provider="cpu")


def test_layers_that_the_file_keeps_in_fp32_are_excused() -> None:
    half = layers("Gemm", "Gemm", precision="fp16")
    asked = wanted("fp16", fp16=2, fp32=1)
    assert not prove(asked, (*half, *layers("Conv")), {"cpu": 3}).fallbacks
    two = prove(asked, (*half, *layers("Conv", "Gemm")), {"cpu": 4})
    assert two.fallbacks == ("asked fp16, but of 4 layers run 2 in fp32",)


def test_int8_counts_products_with_weights_only() -> None:
    inside = layers("MatMul", "MatMul", precision="int8")  # of attention
    with_weights = layers("FullyConnected", precision="int8")
    asked = wanted("int8", int8=2)
    missed = prove(asked, (*inside, *with_weights), {"cpu": 3})
    assert missed.fallbacks == ("1 of 2 quantised layers run in int8",)
    assert not prove(asked, (*inside, *with_weights, *with_weights), {"cpu": 4}).fallbacks


def test_another_device_and_nothing_at_all_are_fallbacks() -> None:
    assert prove(wanted("fp32"), layers("Gemm"), {"cuda": 1}).fallbacks == (
        "asked cpu, but of 1 nodes run 1 on cuda",
    )
    assert prove(wanted("fp32"), (), {"cpu": 9}).fallbacks == (
        "no convolution or matrix product was seen",
    )


def test_a_fallback_is_an_error_unless_allowed() -> None:
    proof = prove(wanted("fp16"), layers("Gemm"), {"cpu": 1})
    assert require(proof, allow_fallback=True, what="x") is proof
    with pytest.raises(DgpruneError, match=r"^x: asked fp16, .*--allow-fallback"):
        require(proof, allow_fallback=False, what="x")
    right = prove(wanted("fp32"), layers("Gemm"), {"cpu": 1})
    assert require(right, allow_fallback=False, what="x") is right


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Exception from src/core.cpp:117:\nCheck 'x' failed at y:3:\nno such op\n", "no such op"),
        ("plain\nmore", "plain"),
        ("Exception from src/core.cpp:117:", "Exception from src/core.cpp:117:"),
        ("", "ValueError"),
    ],
)
def test_the_line_that_says_something_is_told(said: str, line: str) -> None:
    assert first_line(ValueError(said)) == line
