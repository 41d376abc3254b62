"""Says on which systems the binary runs, from the binary itself."""

from __future__ import annotations

import re
import stat
import struct
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# As the ELF header has them, and as wheels do.
MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}
# The oldest that wheels name.
OLDEST_GLIBC = (2, 17)
PT_INTERP = 3


class BinaryWheel(BuildHookInterface):
    """Tags the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling."""
        binary = Path(self.root, "narthex")
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        build_data["tag"] = f"py3-none-{platform(binary.read_bytes())}"
        build_data["pure_python"] = False


def platform(binary: bytes) -> str:
    """The platforms of a wheel with this program."""
    if not binary.startswith(b"\x7fELF"):
        from packaging.tags import platform_tags

        # Built here, so it runs here.
        return next(platform_tags())
    machine = MACHINES[struct.unpack_from("<H", binary, 18)[0]]
    loader = interpreter(binary)
    if loader is None:
        # Static: any Linux.
        return f"manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"
    if b"musl" in loader:
        return f"musllinux_1_2_{machine}"
    # The versions of glibc whose functions are used are named. The highest name there is may be higher than needed.
    named = re.findall(rb"GLIBC_(\d+)\.(\d+)", binary)
    major, minor = max([OLDEST_GLIBC, *((int(major), int(minor)) for major, minor in named)])
    return f"manylinux_{major}_{minor}_{machine}"


def interpreter(binary: bytes) -> bytes | None:
    """What loads the program: the entry of that kind among the headers of a 64-bit ELF file."""
    (start,) = struct.unpack_from("<Q", binary, 32)
    size, count = struct.unpack_from("<HH", binary, 54)
    for header in range(start, start + size * count, size):
        (kind,) = struct.unpack_from("<I", binary, header)
        if kind == PT_INTERP:
            (offset,) = struct.unpack_from("<Q", binary, header + 8)
            (length,) = struct.unpack_from("<Q", binary, header + 32)
            return binary[offset : offset + length]
    return None
