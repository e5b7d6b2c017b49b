"""References of images: the grammar that registries, engines and orchestrators share.

The rules are those of the distribution project (https://pkg.go.dev/github.com/distribution/reference), by which
Docker, Podman, containerd and kubelets read a reference, with their normalisation: a first component without a
dot, a port or an upper case letter that is not localhost belongs to the repository, and the registry is Docker Hub
then, whose repositories of one component are below `library/`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zun_coe.model.evidence import named, quoted

DOCKER_HUB = "docker.io"
"""The registry of references that name none."""
LONGEST_REPOSITORY = 255
"""How many characters the name of a repository may have, its registry left out."""

_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io"})
_HUB_SERVERS = _HUB_NAMES | {"registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True)
class Reference:
    """An image: `registry` (a host, maybe with a port), `repository` within it, and `tag` or `digest`
    (`algorithm:hex`) or both or neither, where the reference leaves the tag to whoever reads it."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """The reference in full, with its registry."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(reference: str) -> Reference:
    """What a reference names. Raises `ValueError` with a sentence that says what is wrong with it."""
    if "://" in reference:
        plain = named(reference.partition("://")[2])
        raise ValueError(f"{quoted(reference)} is a URL; name an image without its scheme: {plain}.")
    if _ID.fullmatch(reference):
        raise ValueError(
            f"{quoted(reference)} is the id of an image, which says nothing of where it comes from; name it."
        )
    tagged, at, digest = reference.partition("@")
    if at:
        _check_digest(digest)
    name, tag = _split_tag(tagged)
    registry, repository = _split_registry(name)
    _check_repository(registry, repository, name)
    return Reference(registry, repository, tag, digest or None)


def is_login_for(server: str | None, main: str, image: str) -> bool:
    """Whether a registry's login is for an image: for its `server` (a host, or a URL as Docker's configuration has
    them), or where it names none, for the registry of a workload's `main` image. Logins are offered to no others.
    False for what is no reference. Pure."""
    try:
        registry = parse(image).registry
        wanted = registry_of(server) if server else parse(main).registry
    except ValueError:
        return False
    return registry == wanted


def registry_of(server: str) -> str:
    """The registry that a login's `server` means: Docker Hub has several names. Pure."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    return DOCKER_HUB if host in _HUB_SERVERS else host


def split(reference: str) -> tuple[str, str | None]:
    """A reference as it is written in two parts: the name, and the digest, or else the tag (None: neither). With
    both the tag stays with the name. For APIs that ask for the two apart. Checks nothing."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, slash, last = reference.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, tag if colon else None


def _split_tag(tagged: str) -> tuple[str, str | None]:
    name, tag = split(tagged)
    if tag is not None and not _TAG.fullmatch(tag):
        told = f"{quoted(tag)} is no tag" if tag else f"The tag of {quoted(tagged)} is empty"
        raise ValueError(
            f"{told}: a tag has 1 to 128 letters, digits, _, . and -, and begins with none of the last two."
        )
    return name, tag


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    given = bool(slash) and (bool(re.search(r"[.:\[]", first)) or first == "localhost" or first != first.lower())
    registry, repository = (first, rest) if given else (DOCKER_HUB, name)
    if registry not in _HUB_NAMES:
        return registry, repository
    return DOCKER_HUB, repository if "/" in repository else f"library/{repository}"


def _check_repository(registry: str, repository: str, name: str) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise ValueError(f"{quoted(registry)} is no registry: it is the name or address of a host, maybe with a port.")
    if repository != repository.lower():
        raise ValueError(f"The repository of {quoted(name)} has upper case letters, which no registry takes.")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(
            f"{quoted(name)} is no name of a repository: components of lower case letters and digits, with single "
            "., _, __ or - between them, are separated by single slashes."
        )
    if len(repository) > LONGEST_REPOSITORY:
        raise ValueError(f"The name of the repository has more than {LONGEST_REPOSITORY} characters.")


def _check_digest(digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    if not _DIGEST.fullmatch(digest):
        told = quoted(digest) if digest else "What follows the @"
        raise ValueError(f"{told} is no digest, such as sha256: with 64 hexadecimal digits.")
    expected = _DIGITS.get(algorithm)
    if expected and not re.fullmatch(f"[0-9a-f]{{{expected}}}", value):
        raise ValueError(f"A digest of {algorithm} has {expected} hexadecimal digits in lower case; it has {value}.")
