"""A root file system for container images, made from this machine's own busybox."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
FOLDERS = ("bin", "dev", "etc", "home/app", "proc", "root", "sys", "tmp", "var/run", "www")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:1000:\n",
    "www/index.html": "hello\n",
}
# How an image of it is to be run, as `docker import --change` takes it.
CHANGES = ['CMD ["sh"]', "ENV PATH=/bin"]


def find_busybox() -> Path | None:
    """A busybox that runs without any library; None where there is none."""
    found = shutil.which("busybox", path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}")
    # The beginning of a program names its dynamic loader, if it has one.
    return Path(found) if found and b"/ld-" not in Path(found).read_bytes()[:4096] else None


def busybox_root(busybox: Path) -> bytes:
    """A tar archive: busybox with all its applets, a user `app` (1000) and a page in /www."""
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in FOLDERS:
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755))
        _add(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        for name, text in FILES.items():
            _add(tar, name, text.encode(), 0o644)
        for applet in set(applets) - {"busybox"}:
            tar.addfile(_entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox"))
    return archive.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _entry(name: str, kind: bytes, mode: int, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, link
    return entry
