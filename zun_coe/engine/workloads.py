"""What an adapter is asked for: the revision in effect, with the values of its secrets and the size of its volumes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zun_coe.engine.acting import Ledger, Tools
from zun_coe.engine.revisions import Revisions
from zun_coe.engine.rollout import Refusal
from zun_coe.engine.volumes import Volumes
from zun_coe.errors import Invalid
from zun_coe.model import Intent, Observation, Status, Template, Workload, assemble, wanted_hash


class Workloads:
    """Makes workloads from intents, on behalf of one cluster."""

    def __init__(self, tools: Tools, ledger: Ledger, revisions: Revisions, volumes: Volumes) -> None:
        self._tools, self._ledger, self._revisions, self._volumes = tools, ledger, revisions, volumes

    def of(self, intent: Intent, status: Status, seen: Observation) -> Workload:
        """What is asked for. Raises `Invalid` where what it needs is not there."""
        effective, previous = self._revisions.of(intent, status, seen)
        secrets, login = self._secrets(intent, effective.template)
        if previous is not None:
            secrets = self._values(intent, previous.template) | secrets
        workload = assemble(
            self._tools.installation,
            intent,
            status,
            effective=effective,
            previous=previous,
            secrets=secrets,
            image_auth=login,
        )
        return msgspec.structs.replace(workload, storage=dict(self._volumes.storage(intent.project, workload.volumes)))

    def lacking(self, intent: Intent) -> Refusal | None:
        """What keeps the wanted template from being asked for at all: secrets that are not there."""
        missing = self._missing(intent, intent.template) if intent.noun == "app" else []
        return Refusal(wanted_hash(intent), _not_there(missing), "missing") if missing else None

    def _missing(self, intent: Intent, template: Template) -> list[str]:
        """What a template names of secrets that are not there."""
        sources = set(template.env_secrets.values())
        missing = [s for s in sources if s.partition("/")[2] not in self._ledger.keys_of(intent.project, s)]
        if template.image_auth and not self._ledger.keys_of(intent.project, template.image_auth):
            missing.append(template.image_auth)
        return sorted(missing)

    def _secrets(self, intent: Intent, template: Template) -> tuple[dict[str, str], dict[str, str] | None]:
        if missing := self._missing(intent, template):
            raise Invalid(_not_there(missing), "InvalidSpec", {"secrets": missing})
        login = self._ledger.secret(intent.project, template.image_auth) if template.image_auth else None
        return self._values(intent, template), login

    def _values(self, intent: Intent, template: Template) -> dict[str, str]:
        """The values that a template's environment takes from secrets, of those that are there."""
        values: dict[str, str] = {}
        for source in template.env_secrets.values():
            name, _, item = source.partition("/")
            content = self._ledger.secret(intent.project, name) or {}
            if item in content:
                values[source] = content[item]
        return values


def _not_there(missing: Sequence[str]) -> str:
    return f"The secret {', '.join(missing)} is not there any more."
