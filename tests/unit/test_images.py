"""References of images: what the grammar takes, what it refuses, and how it is split."""

from __future__ import annotations

import pytest
from docker.utils import parse_repository_tag
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters.images import Reference, is_login_for, parse, split

HEX = "a1" * 32
# As reference_test.go and normalize_test.go of the distribution project have them.
TAKEN = {
    "busybox": Reference("docker.io", "library/busybox"),
    "busybox:local": Reference("docker.io", "library/busybox", "local"),
    "test_com": Reference("docker.io", "library/test_com"),
    "test.com:tag": Reference("docker.io", "library/test.com", "tag"),
    "test.com:5000": Reference("docker.io", "library/test.com", "5000"),
    "test.com/repo:tag": Reference("test.com", "repo", "tag"),
    "test:5000/repo": Reference("test:5000", "repo"),
    "test:5000/repo:tag": Reference("test:5000", "repo", "tag"),
    f"test:5000/repo@sha256:{HEX}": Reference("test:5000", "repo", None, f"sha256:{HEX}"),
    f"test:5000/repo:tag@sha256:{HEX}": Reference("test:5000", "repo", "tag", f"sha256:{HEX}"),
    "lowercase:Uppercase": Reference("docker.io", "library/lowercase", "Uppercase"),
    "sub-dom1.foo.com/bar/baz/quux:some-long-tag": Reference("sub-dom1.foo.com", "bar/baz/quux", "some-long-tag"),
    "b.gcr.io/test.example.com/my-app:test": Reference("b.gcr.io", "test.example.com/my-app", "test"),
    "xn--n3h.com/myimage:xn--n3h.com": Reference("xn--n3h.com", "myimage", "xn--n3h.com"),
    "foo_bar.com:8080": Reference("docker.io", "library/foo_bar.com", "8080"),
    "foo/foo_bar.com:8080": Reference("docker.io", "foo/foo_bar.com", "8080"),
    "192.168.1.1:5000/repo": Reference("192.168.1.1:5000", "repo"),
    "[2001:db8::1]:5000/repo:1": Reference("[2001:db8::1]:5000", "repo", "1"),
    "localhost/repo": Reference("localhost", "repo"),
    "LOCALHOST/repo": Reference("LOCALHOST", "repo"),
    "Asdf/foo": Reference("Asdf", "foo"),
    "index.docker.io/library/foo": Reference("docker.io", "library/foo"),
    "docker.io/foo:1": Reference("docker.io", "library/foo", "1"),
    "dash--between/two__lines": Reference("docker.io", "dash--between/two__lines"),
    "a/" + "a" * 253: Reference("docker.io", "a/" + "a" * 253),
    f"app@sha512:{HEX}{HEX}": Reference("docker.io", "library/app", None, f"sha512:{HEX}{HEX}"),
}
REFUSED = {
    "H1/App": "upper case",
    "Uppercase:tag": "upper case",
    "docker.io/library/Busybox": "upper case",
    "http://registry.example/app": "registry.example/app",
    "https://app": "URL",
    "docker://busybox:1": "URL",
    "busybox:": "empty",
    "a/b:": "empty",
    "busybox:-1": "no tag",
    "busybox:.x": "no tag",
    "busybox:" + "t" * 129: "no tag",
    "busybox:a:b": "no tag",
    "": "no name of a repository",
    "a//b": "no name of a repository",
    "a/": "no name of a repository",
    "-app": "no name of a repository",
    "app-": "no name of a repository",
    "a..b": "no name of a repository",
    "a___b": "no name of a repository",
    "bad_host.com:5000/app": "no registry",
    "-a.com/app": "no registry",
    "a.com:port/app": "no registry",
    "a/" + "a" * 254: "255",
    HEX: "id of an image",
    "app@": "no digest",
    "app@sha256": "no digest",
    "app@sha256:12": "no digest",
    f"app@sha256:{HEX}ff": "64 hexadecimal digits",
    f"app@{HEX}": "no digest",
}


@pytest.mark.parametrize("text", TAKEN, ids=lambda text: text[:40])
def test_what_the_grammar_takes_is_split_as_engines_split_it(text: str) -> None:
    assert parse(text) == TAKEN[text]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_no_engine_would_take_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[text]) as refused:
        parse(text)
    assert str(refused.value).endswith(".")


_components = st.from_regex(r"\A[a-z0-9]{1,5}([._-][a-z0-9]{1,4})?\Z")
_tags = st.none() | st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}\Z")
_digests = st.none() | st.from_regex(r"\Asha256:[0-9a-f]{64}\Z")
_registries = st.sampled_from(["docker.io", "localhost", "r.example", "r:5000", "[::1]:5000", "10.0.0.1"])


@given(_registries, st.lists(_components, min_size=2, max_size=4), _tags, _digests)
def test_a_reference_in_full_is_read_as_it_was_written(
    registry: str, components: list[str], tag: str | None, digest: str | None
) -> None:
    written = Reference(registry, "/".join(components), tag, digest)
    assert parse(str(written)) == written


@pytest.mark.parametrize("text", [text for text in TAKEN if not text.startswith("[")], ids=lambda text: text[:40])
def test_a_name_and_what_follows_it_are_what_the_engines_client_makes_of_it(text: str) -> None:
    assert split(text) == tuple(part or None for part in parse_repository_tag(text))


@given(st.text(max_size=40))
def test_whatever_is_given_it_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("server", "main", "image", "offered"),
    [
        (None, "r.example/a", "r.example/b:1", True),
        (None, "r.example/a", "other.example/b", False),
        (None, "r.example/a", "busybox", False),
        (None, "nginx", "docker.io/library/busybox", True),
        ("r.example", "nginx", "r.example/b", True),
        ("https://r.example/v2/", "nginx", "r.example/b", True),
        ("r.example:5000", "r.example/a", "r.example/a", False),
        ("https://index.docker.io/v1/", "r.example/a", "nginx", True),
        ("https://index.docker.io/v1/", "r.example/a", "r.example/a", False),
        ("r.example", "r.example/a", "r.example/A", False),
    ],
)
def test_a_login_is_offered_to_its_own_registry_alone(server: str | None, main: str, image: str, offered: bool) -> None:
    assert is_login_for(server, main, image) == offered
