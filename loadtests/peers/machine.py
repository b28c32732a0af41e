"""this computer → what a benchmark must say of it."""

import os
import platform
from pathlib import Path

from loadtests.peers.record import Machine

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "amx_fp16")


def machine() -> Machine:
    facts: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    flags = set(facts.get("flags", "").split())
    return Machine(
        cpu=facts.get("model name") or platform.processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        flags=[flag for flag in FLAGS if flag in flags],
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )
