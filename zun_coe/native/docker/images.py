"""Images on an engine's host, and fetching them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from zun_coe.adapters.images import parse, split
from zun_coe.errors import Absent, BackendError, TimedOut
from zun_coe.native.docker.client import EngineClient
from zun_coe.native.docker.failures import pull_answered, pull_failure, translated
from zun_coe.native.docker.streams import Stream, objects

# So many images are remembered by what registries know them as.
_REMEMBERED = 1000


class Images:
    """Images, through a client for short calls and one for long answers. `pull_timeout` in seconds."""

    def __init__(self, client: EngineClient, streaming: EngineClient, pull_timeout: float) -> None:
        self._client = client
        self._streaming = streaming
        self._pull_timeout = pull_timeout
        self._digests: dict[tuple[str, str], str] = {}

    def there(self, image: str) -> bool:
        """Whether it is on the host."""
        return self._inspect(image) is not None

    def entrypoint(self, image: str) -> Sequence[str]:
        """The image's own; empty where it has none or isn't there."""
        config: Mapping[str, Any] = (self._inspect(image) or {}).get("Config") or {}
        return config.get("Entrypoint") or ()

    def labels(self, image: str) -> Mapping[str, str]:
        """The image's own; empty where it has none or isn't there."""
        config: Mapping[str, Any] = (self._inspect(image) or {}).get("Config") or {}
        return config.get("Labels") or {}

    def digest(self, id: str, reference: str) -> str | None:
        """The image with this id as the registry that a reference names knows it (`repository@digest`), the id where
        it came from no registry, None where it is not there. Asks the engine once for each."""
        known = self._digests.get((id, reference))
        if known is not None:
            return known
        try:
            told = self._inspect(id)
        except BackendError:
            return None
        if told is None:
            return None
        if len(self._digests) >= _REMEMBERED:
            self._digests.clear()
        found = digest_of(told.get("RepoDigests") or (), reference) or id
        return self._digests.setdefault((id, reference), found)

    def pull(self, image: str, auth: Mapping[str, str] | None) -> None:
        """Fetch it (see `Runtime.pull`). The deadline is of the whole pull, however lively it is."""
        begun = time.monotonic()
        stream = self._open(image, auth)
        alarm = threading.Timer(self._pull_timeout - (time.monotonic() - begun), stream.close)
        alarm.daemon = True
        alarm.start()
        try:
            for told in objects(stream):
                if message := told.get("error"):
                    raise pull_failure(str(message), logged_in=bool(auth))
            if stream.closed:
                raise _too_long(self._pull_timeout)
        finally:
            alarm.cancel()
            stream.close()

    def make(self, image: str, archive: bytes) -> None:
        """An image of a root file system (see `Runtime.import_image`)."""
        repository, tag = split(image)
        client = self._client.ready()
        with translated("import"):
            client.import_image(archive, repository, tag)

    def _inspect(self, image: str) -> Mapping[str, Any] | None:
        client = self._client.ready()
        try:
            with translated("image"):
                told = client.image(image)
        except Absent:
            return None
        return told

    def _open(self, image: str, auth: Mapping[str, str] | None) -> Stream:
        client = self._streaming.ready()
        with translated("pull"), pull_answered(logged_in=bool(auth)):
            return Stream("pull", client.open_pull(image, _login(auth), self._pull_timeout))


def digest_of(digests: Sequence[str], reference: str) -> str | None:
    """Of what an engine tells of an image, that which is of the reference's repository. Pure."""
    try:
        wanted = parse(reference)
        named = {(each.registry, each.repository): text for text in digests for each in [parse(text)]}
    except ValueError:
        return None
    return named.get((wanted.registry, wanted.repository))


def _login(auth: Mapping[str, str] | None) -> dict[str, str] | None:
    if not auth:
        return None
    told = {"username": auth.get("username"), "password": auth.get("password"), "serveraddress": auth.get("server")}
    return {name: value for name, value in told.items() if value is not None}


def _too_long(seconds: float) -> TimedOut:
    message = f"the pull took longer than {seconds:g} seconds"
    return TimedOut(message, "ImagePullFailed", {"call": "pull", "status": None, "message": message})
