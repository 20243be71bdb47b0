"""The machine that something was measured on, in one line."""

from dgprune.environment import Environment


def machine_text(environment: Environment) -> str:
    """Processor, memory, device, system and libraries."""
    env = environment
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(env.libraries.items()))
    device = f", {env.device.name} (driver {env.device.driver})" if env.device else ""
    governor = f", governor {env.governor}" if env.governor else ""
    return (
        f"{env.cpu}, {env.cores} cores{governor}, {env.memory_bytes / 2**30:.0f} GiB"
        f"{device}; {env.system}; Python {env.python}; {libraries}"
    )
