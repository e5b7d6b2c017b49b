"""`make run`: the gateway on this machine, with a sample app on its Docker engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
import docker
import httpx
from docker.errors import APIError

from scripts.busybox import CHANGES, busybox_root, find_busybox
from scripts.local_docker import Trouble, client_of, find_or_start, wait_for
from scripts.local_gateway import LOG, ask, gateway
from scripts.telling import step

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".run"
SAMPLE = ROOT / "samples" / "hello.json"
# What to run where no busybox is at hand to make an image from.
PUBLIC_IMAGE = "docker.io/library/busybox:stable"
DEFAULT = "127.0.0.1:9517"
SETTLED = ("Running", "Stopped", "Degraded", "Failed")


@click.command()
@click.option("--listen", default=DEFAULT, show_default=True, help="Where the gateway serves.")
@click.option("--remove", is_flag=True, help="Remove the sample app instead.")
def main(listen: str, remove: bool) -> None:
    """Run the gateway and the sample app until Ctrl-C, or remove the sample app."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        listen = f"127.0.0.1:{listen}" if listen.isdigit() else listen
        with step("Looking for this machine's Docker engine"):
            endpoint = find_or_start()
        with gateway(listen, STATE) as (api, process):
            if remove:
                remove_sample(api, endpoint)
            else:
                run_sample(api, endpoint, listen, ours=process is not None)
                if process is not None:
                    process.wait()
    except Trouble as trouble:
        sys.exit(f"\n{trouble}")
    except httpx.HTTPError as error:
        sys.exit(f"\nThe gateway can't be reached any more ({error}): see {STATE / LOG}.")
    except KeyboardInterrupt:
        click.echo()


def run_sample(api: httpx.Client, endpoint: str, listen: str, *, ours: bool = True) -> None:
    """Register the engine, deploy the sample unless it is there, and tell how to go on. Idempotent. `ours`: whether
    the gateway ends with this process."""
    with step(f"Connecting the gateway to the engine at {endpoint}, as the cluster local"):
        register(api, endpoint)
    if api.get("/v1/apps/hello").status_code == httpx.codes.NOT_FOUND:
        with step("Making the image of the sample app"):
            body = sample(endpoint)
        click.echo("Deploying the sample app hello ...")
        ask(api, "PUT", "/v1/apps/hello", json=body)
    app = follow(api)
    click.echo(guide(app, listen, ours=ours))


def register(api: httpx.Client, endpoint: str) -> None:
    """Make the engine known as the cluster `local`, for all projects. Idempotent."""
    hosts = [{"name": "local", "runtime": "docker", "endpoint": endpoint, "address": "127.0.0.1"}]
    found = api.get("/v1/clusters/local")
    if found.status_code == httpx.codes.NOT_FOUND:
        body = {"name": "local", "kind": "native", "public": True, "hosts": hosts}
        ask(api, "POST", "/v1/clusters?wait=30", json=body)
    elif [host.get("endpoint") for host in found.json()["hosts"]] != [endpoint]:
        ask(api, "PATCH", "/v1/clusters/local?wait=30", json={"hosts": hosts})
    if not wait_for(lambda: _cluster(api)["phase"] == "Ready", 30):
        status = _cluster(api)
        raise Trouble(f"The cluster local is {status['phase']}: {status.get('message', 'no reason is known')}")


def sample(endpoint: str) -> dict[str, Any]:
    """The sample app, with an image that is made here, or else one that the engine can fetch."""
    body: dict[str, Any] = json.loads(SAMPLE.read_text())
    busybox = _busybox()
    if busybox is None:
        return body | {"image": PUBLIC_IMAGE}
    repository, _, tag = body["image"].rpartition(":")
    with client_of(endpoint) as client:
        if client.images.list(body["image"]):
            return body  # to make it anew would take its name from the image that others run
        client.api.import_image_from_data(busybox_root(busybox), repository, tag, changes=CHANGES)
    return body


def follow(api: httpx.Client, seconds: float = 120) -> dict[str, Any]:
    """Show how the app changes until it has settled, and give it back."""
    deadline, shown = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        app: dict[str, Any] = ask(api, "GET", "/v1/apps/hello").json()
        if (line := _line(app)) != shown:
            click.echo(line)
            shown = line
        if app["status"]["observed_generation"] == app["generation"] and app["status"]["phase"] in SETTLED:
            return app
        time.sleep(0.1)
    raise Trouble("The app hello has not settled in time. Why: .venv/bin/zun-coe app diagnose hello")


def remove_sample(api: httpx.Client, endpoint: str) -> None:
    """Delete the sample app, and its image unless something else uses it. Idempotent."""
    if api.get("/v1/apps/hello").status_code != httpx.codes.NOT_FOUND:
        with step("Deleting the app hello"):
            ask(api, "DELETE", "/v1/apps/hello?wait=60")
        if api.get("/v1/apps/hello").status_code != httpx.codes.NOT_FOUND:
            raise Trouble("The app hello is being deleted, which takes longer than usual.")
    click.echo("The app hello is gone.")
    _remove_image(endpoint, json.loads(SAMPLE.read_text())["image"])


def _remove_image(endpoint: str, image: str) -> None:
    with client_of(endpoint) as client:
        if not client.images.list(image):
            return
        if users := _users(client, image):
            click.echo(f"Its image {image} stays, since it is used by {', '.join(sorted(users))}.")
            return
        try:
            client.images.remove(image)
        except APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise Trouble(f"The image {image} can't be removed: {error.explanation}") from error
            click.echo(f"Its image {image} stays, since something began to use it.")
            return
    click.echo(f"Its image {image} is removed.")


def _users(client: docker.DockerClient, image: str) -> list[str]:
    """The containers that are made from an image, or from another one that had its name then: who made them will
    ask for the name again."""
    ids = {found.id for found in client.images.list(image)}
    there = client.containers.list(all=True, ignore_removed=True)
    return [c.name or "" for c in there if c.attrs["Config"]["Image"] == image or c.attrs["Image"] in ids]


def _busybox() -> Path | None:
    if find_busybox() is None and os.geteuid() == 0:
        subprocess.run([Path(__file__).with_name("packages"), ":busybox-static"], check=False)
    return find_busybox()


def _cluster(api: httpx.Client) -> dict[str, Any]:
    status: dict[str, Any] = ask(api, "GET", "/v1/clusters/local").json()["status"]
    return status


def _line(app: dict[str, Any]) -> str:
    status = app["status"]
    counts = status.get("replicas", {})
    ready = f"{counts.get('ready', 0)} of {app['replicas']} replicas are ready"
    return "  ".join(filter(None, (f"hello is {status['phase']:<12}", ready, status.get("message"))))


def guide(app: dict[str, Any], listen: str, *, ours: bool) -> str:
    """Where the app and the API are and what can be done next, each command with what leads to this very gateway."""
    addresses = "\n".join(f"    http://{e['address']}:{e['port']}/" for e in app["status"].get("endpoints", ()))
    command = ".venv/bin/zun-coe" + ("" if listen == DEFAULT else f" --endpoint http://{listen}")
    there = "" if listen == DEFAULT else f" LISTEN={listen}"
    end = "Ctrl-C stops the gateway. The" if ours else "The gateway was there before, and stays. The"
    return f"""
The app answers at:
{addresses}
The API, described and ready to be tried:
    http://{listen}/v1/ui/
Try, in another terminal:
    {command} app show hello
    {command} app scale hello 5 --wait
    {command} app logs hello --follow

{end} app runs on, and the next `make run{there}` finds it again.
`make clean-sample{there}` removes it.
"""


if __name__ == "__main__":
    main()
