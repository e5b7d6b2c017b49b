"""What is rendered fits the published schemas of every Kubernetes that `kubernetes-validate` carries, which are those
of the last years up to the newest: no API that was removed, and no field that is not there. The real one of these
tests is older."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from kubernetes_validate import utils
from referencing import Registry, Resource

from tests.unit.kubernetes_specs import TARGET, apps, containers, workload
from zun_coe.adapters.kubernetes.converging import left_to, owned, stamped
from zun_coe.adapters.kubernetes.manifest import render
from zun_coe.model import Mount, Port, Template, VolumeSource

VERSIONS = list(dict.fromkeys(utils.all_versions()))
TEMPLATE = Template(
    image="nginx:1.27",
    env={"A": "1"},
    env_secrets={"P": "db/password"},
    image_auth="login",
    ports=(Port(port=80, name="http", publish="auto"), Port(port=53, protocol="udp", publish=30053)),
    mounts=(Mount(path="/data", volume=VolumeSource(name="data", size="1Gi", class_="fast")),),
    cpu=0.5,
    memory="64Mi",
)


@cache
def schemas(version: str) -> Any:
    """The definitions that the schemas of a version refer to."""
    contents = utils.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
    registry: Any = Registry()
    return Resource.from_contents(contents) @ registry


@cache
def validator(version: str, kind: str, api: str) -> Any:
    """What knows the fields of a kind in a version. Raises `FileNotFoundError` where the version has no such API."""
    place = f"kubernetes-json-schema/v{version}-local-strict/{kind.lower()}-{api.replace('/', '-')}.json"
    schema = utils.schema_contents(place, version)
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ schemas(version))


def check(version: str, object: Any) -> None:
    """Raises where a version would not take an object as it is."""
    validator(version, object["kind"], object["apiVersion"]).validate(object)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("security", ["", "default", "restricted"])
@pytest.mark.parametrize("noun", ["app", "container"])
def test_every_version_knows_all_that_is_sent(version: str, noun: Any, security: Any) -> None:
    live: Any = {}
    for object in left_to(None, render(workload(TEMPLATE, noun), replace(TARGET, security=security)), {}):
        sent = stamped(owned(object, live))
        check(version, sent)
        live[object["kind"], object["metadata"]["name"]] = sent | {"metadata": sent["metadata"] | {"uid": "u"}}
    assert {kind for kind, _ in live} >= {"Secret", "PersistentVolumeClaim", "Service"}


@settings(max_examples=60, deadline=None)
@given(st.one_of(apps(), containers()), st.sampled_from([VERSIONS[0], VERSIONS[-1]]))
def test_the_oldest_and_the_newest_know_whatever_is_rendered(of: Any, version: str) -> None:
    for object in render(of, TARGET):
        check(version, stamped(object))


def test_what_is_wrong_would_be_seen() -> None:
    (deployment,) = [o for o in render(workload(TEMPLATE), TARGET) if o["kind"] == "Deployment"]
    with pytest.raises(ValidationError):
        check(VERSIONS[-1], deployment | {"spec": deployment["spec"] | {"replica": 1}})
    with pytest.raises(FileNotFoundError):
        check(VERSIONS[-1], deployment | {"apiVersion": "extensions/v1beta1"})
    assert len(VERSIONS) >= 10
