"""What every part of the suite shares: structure, records, store, data, checkpoints, statistics."""

__version__ = "0.1.0"
