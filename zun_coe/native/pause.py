"""A program that does nothing, for the container that holds a replica's network.

It is a few instructions in the smallest ELF file that a kernel takes, for each processor that Docker is
common on, so that nothing has to be fetched from a registry that may be away or closed."""

from __future__ import annotations

import io
import struct
import tarfile

IMAGE = "zun-coe/pause:1"
COMMAND = ("/pause",)

_BASE = 0x400000
_HEADERS = 64 + 56

# The ELF machine number and the instructions: for ever, wait for a signal.
_PROGRAMS: dict[str, tuple[int, bytes]] = {
    # mov eax, 34 (pause); syscall; jmp to the start
    "x86_64": (62, bytes.fromhex("b8220000000f05ebf7")),
    # mov x0..x4, 0; mov x8, 73 (ppoll, of nothing, for ever); svc 0; branch to the start
    "aarch64": (
        183,
        struct.pack(
            "<8I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004, 0xD2800928, 0xD4000001, 0x17FFFFF9
        ),
    ),
}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def archive(machine: str = "x86_64") -> bytes:
    """The root file system of the image, as a tar. `machine` as the host's kernel names it. Pure; the same
    bytes each time. Raises `KeyError` for a processor that there is no program for."""
    program = executable(machine)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()


def executable(machine: str) -> bytes:
    """A static executable: ELF header, one segment that is read and executed, the instructions."""
    number, code = _PROGRAMS[_ALIASES.get(machine, machine)]
    size = _HEADERS + len(code)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + code
