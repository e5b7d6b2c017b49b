"""Writes the reference pages in docs/ from what they describe: the settings, the kinds of clusters, why something
is not running, the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from zun_coe import config
from zun_coe.adapters import Adapter, kinds
from zun_coe.cli.serving import meanings
from zun_coe.gateway.diagnosing import ADVICE
from zun_coe.model.reasons import MEANINGS

FOLDER = Path(__file__).parent.parent / "docs"
NOTICE = "<!-- Written by `make docs`: change what it describes instead. -->\n"
METHODS = ("get", "put", "post", "patch", "delete")


def pages() -> dict[str, str]:
    """Every page that is generated, by its file's name."""
    return {
        "configuration.md": NOTICE + configuration(),
        "kinds.md": NOTICE + fields_of_kinds(kinds.__wrapped__()),
        "reasons.md": NOTICE + reasons(kinds.__wrapped__()),
        "api.md": NOTICE + operations(yaml.safe_load(files("zun_coe").joinpath("openapi.yaml").read_text())),
    }


def configuration() -> str:
    """Each setting with its default, its names and what it does."""
    rows = [(f"`{name}`", default, meaning) for name, default, meaning in _settings()]
    return f"""# Configuration

Each setting can be given in a TOML file (`--config FILE`, a line `NAME = VALUE`), in the environment
(`{config.PREFIX}NAME`, in capitals) and on the command line of `zun-coe serve`, `api` and `engine` (`--name`).
The command line wins over the environment, the environment over the file, and the file over the default. What is no
setting is refused in a file, and in the environment where it is nearly one, since it is mistyped then.

{_table(("setting", "default", "what it does"), rows)}"""


def fields_of_kinds(found: Mapping[str, type[Adapter]]) -> str:
    """For each kind of cluster, how it carries each field of an app or a container."""
    sections = [f"## {kind}\n\n{_table(('field', 'carried', 'note'), _fields(found[kind]))}" for kind in sorted(found)]
    return f"""# What each kind of cluster carries

`native`: the cluster's engine has it. `emulated`: the gateway does it; the note says how that differs.
`none`: it is refused, unless the request accepts its loss. In a field's name, `*` stands for an index of a list.
A cluster's own answer, which knows its version and its nodes, is `GET /v1/clusters/NAME/capabilities`.

{chr(10).join(sections)}"""


def reasons(found: Mapping[str, type[Adapter]]) -> str:
    """Each reason: what it means, what to do, and where it comes from on each kind of cluster."""
    sections = [f"## {reason}\n\n{meaning}\n{_reason(reason, found)}" for reason, meaning in MEANINGS.items()]
    return f"""# Why isn't it running?

`status.reason` of an app or a container says it in one word, the same for the same fault on every cluster.
`status.message` and `status.evidence` have what the cluster itself said. `zun-coe app diagnose NAME` shows all of it,
with what to do. Where the replicas of an app disagree, the reason that stands first on this page is shown.

{chr(10).join(sections)}"""


def _reason(reason: str, found: Mapping[str, type[Adapter]]) -> str:
    told = {"What to do": ADVICE[reason]}
    told |= {f"On {kind}": found[kind].reasons[reason] for kind in sorted(found) if reason in found[kind].reasons}
    return "".join(f"\n- **{title}**: {text}" for title, text in told.items()) + "\n"


def operations(contract: Mapping[str, Any]) -> str:
    """Every operation of the API, by its tag."""
    sections = []
    for tag in contract["tags"]:
        rows = [row for name, row in _operations(contract) if name == tag["name"]]
        title = f"## {tag['name'].capitalize()}\n\n{tag['description']}\n\n"
        sections.append(title + _table(("operation", "path", "what it does"), rows))
    return f"""# Operations of the API

The contract itself is `zun_coe/openapi.yaml`. A running gateway serves it at `/v1/openapi.json`,
and as a page to try things on at `/v1/ui/`.

{chr(10).join(sections)}"""


def _settings() -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each setting."""
    for name, meaning in meanings().items():
        yield f"{name}", f"`{getattr(config.Settings, name)!r}`", meaning


def _fields(adapter: type[Adapter]) -> list[tuple[str, str, str]]:
    return [(f"`{name}`", carried.support.value, carried.note) for name, carried in sorted(adapter.fields.items())]


def _operations(contract: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for path, item in contract["paths"].items():
        for method in METHODS:
            if operation := item.get(method):
                summary = f"{operation['summary']}. {' '.join(operation['description'].split())}"
                yield operation["tags"][0], (f"`{operation['operationId']}`", f"`{method.upper()} {path}`", summary)


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    lines = [head, ("---", "---", "---"), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
