"""Where the embedded store keeps its file: one reading of its URL for the database and all that lies beside it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

SCHEME = "sqlite:///"


def is_embedded(url: str) -> bool:
    """Whether a store's URL names a file, which one process has."""
    return url.startswith("sqlite:")


def database(url: str) -> Path:
    """The file of `sqlite:///relative.db` (in the working folder) or `sqlite:////absolute.db`, with %XX for what
    can't be in a URL. Raises `ValueError`."""
    path = unquote(url.removeprefix(SCHEME))
    if not url.startswith(SCHEME) or not path:
        raise ValueError(
            f"{url!r} names no file: use sqlite:///FILE for one in the working folder, sqlite:////PATH for any other"
        )
    return Path(path)


def key_file(url: str) -> Path:
    """The file of the encryption keys beside the database. Raises `ValueError`."""
    return _beside(database(url))


def former_key_file(url: str) -> Path:
    """Where the key file was up to version 0.1: the same for a plain absolute path, else at the root of the file
    system, or with %XX as it is in the URL."""
    return _beside(Path("/" + urlsplit(url).path.lstrip("/")))


def _beside(file: Path) -> Path:
    return file.with_suffix(".key") if file.suffix != ".key" else file.with_suffix(".key.key")
