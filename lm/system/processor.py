"""The name of this machine's processor."""

import platform
from pathlib import Path


def processor_name() -> str:
    """The model of the CPU, as the system names it."""
    facts = Path("/proc/cpuinfo")
    for line in facts.read_text().splitlines() if facts.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
