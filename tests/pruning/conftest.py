"""What the tests of training share: a task of two source domains."""

from pathlib import Path

import pytest

from dgprune.data import Preprocessing, Purpose, leave_one_out, load_images, open_data
from dgprune.data.images import Loading
from pruning.training import Task

PREPROCESSING = Preprocessing(
    image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic"
)


@pytest.fixture(scope="module")
def task(data_folder: Path) -> Task:
    data = open_data(str(data_folder))
    split = leave_one_out(data, "domain2")
    loading = Loading(split=split)
    parts = [
        load_images(data, samples, PREPROCESSING, purpose=purpose, loading=loading)
        for samples, purpose in ((split.train, Purpose.TRAIN), (split.validation, Purpose.SELECT))
    ]
    return Task(train=parts[0], validation=parts[1], preprocessing=PREPROCESSING)
