"""Bad input: exit code 2, one line that names what is wrong and what to do, nothing left behind."""

import pytest
from bad_input_fixtures import (
    Chain,
    Cli,
    make_chain,
)

RATIO_ADVICE = r"0\.5"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return make_chain(tmp_path_factory.mktemp("chain"))
