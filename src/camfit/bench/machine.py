"""The machine that figures were taken on: processor, instruction sets, versions, and how busy others kept it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

# What a float, integer or bit kernel might use, in the spelling of /proc/cpuinfo (x86 and then ARM).
_INSTRUCTION_SETS = (
    *("sse4_2", "popcnt", "avx", "f16c", "avx2", "fma", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_vpopcntdq", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "fphp", "i8mm", "bf16", "sve", "sve2"),
)
_PACKAGES = ("camfit", "onnxruntime", "onnx", "torch", "numpy")


class Machine(msgspec.Struct, frozen=True):
    """Attributes:
    processor: its name, family, model and stepping, as the system gives them.
    cores: that this process may use.
    flags: instruction sets that the processor has, of those that matter here.
    system: operating system and architecture.
    versions: of Python and the packages compared.
    """

    processor: str
    cores: int
    flags: tuple[str, ...]
    system: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """Reads /proc/cpuinfo; where there is none (not Linux), the flags are left empty."""
    fields = _cpu_fields()
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    numbers = [f"{name} {fields[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in fields]
    name = fields.get("model name") or platform.processor() or "unknown"
    return Machine(
        processor=f"{name} ({', '.join(numbers)})" if numbers else name,
        cores=len(os.sched_getaffinity(0)),
        flags=tuple(flag for flag in _INSTRUCTION_SETS if flag in present),
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **dict(_versions())},
    )


def _versions() -> Iterator[tuple[str, str]]:
    """Of those of the packages that are installed."""
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _cpu_fields() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


class Others:
    """Watches, from its making on, how much of the processors' time went to anybody but this process and its
    children that have ended.

    Reads /proc/stat, where time stolen by other virtual machines counts as theirs; where there is none, nothing is
    known.
    """

    def __init__(self) -> None:
        self._start = _busy_and_total()
        self._own = _own_seconds()

    def share(self) -> float | None:
        """Others' share of all processors' time since the start, 0 to 1; None where the system does not say."""
        now = _busy_and_total()
        if self._start is None or now is None or now[1] <= self._start[1]:
            return None
        own = _own_seconds() - self._own
        return max(0.0, (now[0] - self._start[0] - own) / (now[1] - self._start[1]))


def _busy_and_total() -> tuple[float, float] | None:
    """Seconds (busy, all) of all processors since boot."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    # user nice system idle iowait irq softirq steal; guests are counted in user already.
    ticks = [int(field) for field in path.read_text().split("\n", 1)[0].split()[1:9]]
    unit = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / unit, sum(ticks) / unit


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
