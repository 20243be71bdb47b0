"""Images with a domain and a class: opened, split, and loaded under the leak guard."""

from dgprune.data.dataset import DataSet, Sample, open_data
from dgprune.data.images import Images, Loading, load_images
from dgprune.data.leaks import Purpose
from dgprune.data.preprocessing import Preprocessing, to_input
from dgprune.data.split import Split, leave_one_out, paper_like

__all__ = [
    "DataSet",
    "Images",
    "Loading",
    "Preprocessing",
    "Purpose",
    "Sample",
    "Split",
    "leave_one_out",
    "load_images",
    "open_data",
    "paper_like",
    "to_input",
]
