"""Files that describe resources: what is read, and what is said about what can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from zun_coe.cli import documents
from zun_coe.cli.failures import Misuse


def written(folder: Path, text: str, name: str = "app.yaml") -> list[str]:
    path = folder / name
    path.write_text(text)
    return [str(path)]


def test_several_documents_in_one_file(tmp_path: Path) -> None:
    found = documents.read(written(tmp_path, "name: a\nimage: x:1\n---\nname: b\n---\n"))
    assert found == [{"name": "a", "image": "x:1"}, {"name": "b"}]


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    (as_json,) = documents.read(written(tmp_path, '{"name": "a", "ports": [{"port": 80}]}', "app.json"))
    (as_yaml,) = documents.read(written(tmp_path, "name: a\nports: [{port: 80}]"))
    assert as_json == as_yaml


def test_dates_stay_text(tmp_path: Path) -> None:
    assert documents.one(written(tmp_path, "labels: {since: 2026-03-01}")) == {"labels": {"since": "2026-03-01"}}


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("name: a\nname: b", "app.yaml", "'name' is there twice"),
        ('{"env": {"A": "1", "A": "2"}}', "app.json", "'A' is there twice"),
        ("{", "app.json", "app.json"),
        ("a: [", "app.yaml", "app.yaml"),
        ("- a", "app.yaml", "must be an object"),
        ("", "app.yaml", "nothing in it"),
        ("a: !!python/object/apply:os.getcwd []", "app.yaml", "app.yaml"),
    ],
)
def test_what_can_not_be_read(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(Misuse, match=said):
        documents.read(written(tmp_path, text, name))


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("cpu: .nan", "app.yaml", "JSON can't say"),
        ('{"cpu": Infinity}', "app.json", "JSON can't say"),
        ("image: !!binary aGVsbG8=", "app.yaml", "JSON can't say"),
        ("args: &a [*a]", "app.yaml", "JSON can't say"),
        ("labels: !!set {a, b}", "app.yaml", "JSON can't say"),
        ('{"image": "\\ud800"}', "app.json", "surrogate"),
        ("[" * 100_000, "app.json", "nested too deeply"),
        ("[" * 10_000, "app.yaml", "nested too deeply"),
    ],
)
def test_what_can_not_be_sent(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(Misuse, match=said):
        documents.read(written(tmp_path, text, name))


def test_one_means_one(tmp_path: Path) -> None:
    assert documents.one([]) == {}
    with pytest.raises(Misuse, match="There are 2 documents"):
        documents.one(written(tmp_path, "a: 1\n---\nb: 2"))
    with pytest.raises(Misuse, match="No such file"):
        documents.one([str(tmp_path / "absent.yaml")])
