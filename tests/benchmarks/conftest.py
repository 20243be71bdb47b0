"""What a stored run says of its machine."""

from typing import Any

from tests.benchmarks.machine import this_machine


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Puts ours in the place of the plugin's, which names the host and lacks the libraries."""
    machine_info.clear()
    machine_info.update(this_machine())
