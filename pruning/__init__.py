"""Pruning by dependency groups, and fine-tuning before and after it."""
