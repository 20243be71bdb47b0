"""Accuracy and latency of the very file that is shipped."""
