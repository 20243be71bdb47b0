"""Sweeps: a grid of runs as cells that are made once, wherever and whenever they are run."""
