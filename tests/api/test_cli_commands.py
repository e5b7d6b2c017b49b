"""The command line against a served gateway: what people type, see, and can rely on in scripts."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import yaml
from click.testing import CliRunner, Result

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, SCHEME, Image, Outside, SimulatedCluster
from zun_coe.cli import main, recording

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The gateway in this process logs where no command's output is: loggers that were set up before, and are kept,
    write to whatever is the standard error just now."""
    monkeypatch.setattr(recording._Logger, "least", logging.CRITICAL)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.fixture
def run(service: Service, project: str) -> Run:
    """The program, in the test's own project. `code`: how it must end."""

    def invoke(*arguments: str, code: int = 0, input: str | None = None) -> Result:
        line = ["--endpoint", service.server.url, "--project", project, *arguments]
        result = CliRunner().invoke(main, line, input=input)
        assert result.exit_code == code, (result.output, result.exc_info)
        return result

    return invoke


@pytest.fixture
def hello(run: Run) -> Any:
    """An app that runs."""
    line = ("app", "create", "hello", "--cluster", "here", "--image", "web:1", "--replicas", "2", "--port", "80:auto")
    return json.loads(run(*line, "--env", "A=1", "--wait=20", "-o", "json").stdout)


def show(run: Run, name: str = "hello") -> Any:
    return json.loads(run("app", "show", name, "-o", "json").stdout)


@pytest.mark.usefixtures("hello")
def test_an_app_from_its_beginning_to_its_end(run: Run) -> None:
    head, row = run("app", "list").stdout.splitlines()
    assert head.split() == ["NAME", "PHASE", "READY", "IMAGE", "CLUSTER", "ENDPOINTS", "AGE", "REASON"]
    assert re.match(r"hello +Running +2/2 +web:1 +here +192\.0\.2\.1:\d+->80 +\ds +-$", row)
    assert "3/3" in run("app", "scale", "hello", "3", "--wait").stdout
    run("app", "update", "hello", "--env", "B=2", "--env", "A-", "--wait", "--", "sleep", "9")
    changed = show(run)
    assert (changed["env"], changed["command"], changed["args"]) == ({"B": "2"}, ["sleep"], ["9"])
    assert [line.split()[0] for line in run("app", "revisions", "hello").stdout.splitlines()[1:]] == ["2", "1"]
    run("app", "rollback", "hello", "--wait")
    assert show(run)["env"] == {"A": "1"}
    run("app", "restart", "hello", "--wait")
    assert len(run("app", "containers", "hello").stdout.splitlines()) == 4
    assert "Stopped" in run("app", "stop", "hello", "--wait").stdout
    assert "Running" in run("app", "start", "hello", "--wait").stdout
    assert run("app", "delete", "hello", "--wait").stdout == "app hello is deleted.\n"
    assert run("app", "list").stderr == "There are none.\n"


@pytest.mark.usefixtures("hello")
def test_programs_get_what_the_service_said(run: Run, api: httpx.Client) -> None:
    def settled(app: Any) -> Any:
        return app | {"status": {k: v for k, v in app["status"].items() if k != "as_of"}}

    said = settled(api.get("/v1/apps/hello").json())
    assert settled(show(run)) == said
    assert settled(yaml.safe_load(run("app", "show", "hello", "-o", "yaml").stdout)) == said
    assert [settled(app) for app in json.loads(run("app", "list", "-o", "json").stdout)["apps"]] == [said]
    assert run("app", "list", "-o", "name").stdout == "app/hello\n"


def test_apply_makes_and_remakes_apps_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "apps.yaml"
    file.write_text("name: a\ncluster: here\nimage: web:1\n---\nname: b\ncluster: here\nimage: web:1\nreplicas: 2\n")
    assert run("app", "apply", "-f", str(file), "--wait=20", "-o", "name").stdout == "app/a\napp/b\n"
    run("app", "scale", "b", "3", "--wait")
    again = run("app", "apply", "-f", "-", "-o", "json", input=file.read_text().split("---")[1])
    assert json.loads(again.stdout)["replicas"] == 2
    refused = run("app", "apply", "-f", str(file), "--create-only", code=1)
    assert refused.stderr.count("Precondition failed") == 2
    assert run("app", "delete", "a", "b", "nope", "--wait", code=1).stdout.count("is deleted") == 2


def test_a_file_and_flags_together(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "app.json"
    file.write_text(json.dumps({"name": "a", "cluster": "here", "image": "web:1", "env": {"A": "1", "B": "1"}}))
    made = json.loads(run("app", "create", "-f", str(file), "--env", "B=2", "-o", "json").stdout)
    assert made["env"] == {"A": "1", "B": "2"}


@pytest.mark.usefixtures("hello")
def test_a_refusal_is_readable_and_has_an_exit_code(run: Run) -> None:
    taken = run("app", "create", "hello", "--cluster", "here", "--image", "web:1", code=1)
    assert taken.stderr.startswith("Error: The name is taken\n  NAME: Another app of this project")
    bad = run("app", "create", "x", "--image", "web:1", "--replicas", "-1", "--memory", "1m", code=1).stderr
    assert "\n  --memory: " in bad
    assert "\n  --replicas: " in bad
    problem = json.loads(run("app", "show", "nope", "-o", "json", code=1).stderr)
    assert problem["status"] == 404
    carried = run("app", "update", "hello", "--gpu", "1", code=1).stderr
    assert "\n  --gpu: " in carried
    run("app", "update", "hello", "--gpu", "1", "--accept-loss", "/gpu", "--wait")
    assert show(run)["lost"][0]["pointer"] == "/gpu"


@pytest.mark.usefixtures("hello")
def test_what_shows_names_is_taken_where_names_are(run: Run) -> None:
    name = run("app", "list", "-o", "name").stdout.strip()
    assert run("app", "show", name, "-o", "name").stdout.strip() == name
    assert "AppCreated" in run("events", "--resource", name).stdout
    assert run("events", "--resource", "container/hello").stderr == "There are none.\n"
    assert run("app", "delete", name, "--wait").stdout == "app hello is deleted.\n"


def test_a_failure_with_one_of_several_names_it(run: Run) -> None:
    documents = "name: a\ncluster: here\nimage: web:1\n---\nname: b\ncluster: here\nimage: web:1\nreplica: 2\n"
    told = run("app", "apply", "-f", "-", input=documents, code=1).stderr
    assert told.startswith("Error: b: Malformed request\n  /replica: ")
    told = run("app", "delete", "a", "nope", code=1).stderr
    assert told.startswith("Error: nope: Not found: There is no app nope in the project ")


@pytest.mark.usefixtures("hello")
def test_edits_on_a_condition(run: Run) -> None:
    run("app", "scale", "hello", "3", "--if-match", "1")
    told = run("app", "scale", "hello", "4", "--if-match", "1", code=1).stderr
    assert "Precondition failed" in told
    assert show(run)["replicas"] == 3


@pytest.mark.parametrize(
    "line",
    [
        ("app", "create", "x", "--port", "80:z"),
        ("app", "create", "x", "--image", "web:1", "--env", "A-"),
        ("app", "create", "x", "--image", "web:1", "--arg", "a", "--", "b"),
        ("app", "update", "x"),
        ("app", "apply"),
        ("app", "apply", "-f", "/absent"),
        ("app", "scale", "x", "many"),
        ("app", "nonsense"),
        ("app", "list", "-o", "xml"),
        ("secret", "create", "x"),
        ("cluster", "register", "x", "--host", "address=10.0.0.1"),
        ("--endpoint", "nowhere", "app", "list"),
        ("app", "show", "container/hello"),
        ("app", "delete", "a/b"),
        ("events", "--subject", "app", "--resource", "container/x"),
    ],
)
def test_what_can_not_be_meant_is_exit_code_2(run: Run, line: tuple[str, ...]) -> None:
    assert "Error: " in run(*line, code=2).stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("app", "create", "--image", "web:1"), "A name is needed: main app create NAME, or name in a file."),
        (("container", "create", "-f", "-"), "A name is needed: main container create NAME, or name in a file."),
        (("secret", "create", "--from-literal", "a=b"), "A name is needed: main secret create NAME"),
        (("cluster", "register", "--kind", "native"), "A name is needed: main cluster register NAME"),
        (("app", "scale", "x", "many"), "'many' is not a whole number of replicas, 0 or more"),
        (("app", "list", "--limit", "0"), "'0' is not a whole number, 1 or more"),
        (("app", "logs", "x", "--tail", "all"), "'all' is not a whole number from 0 to 100000"),
        (("app", "show", "x", "--timeout", "x"), "No such option"),
        (("--timeout", "soon", "app", "list"), "'soon' is not a number of seconds, 0.1 or more"),
        (("app", "stop", "x", "--wait=long"), "'long' is not a number of seconds, 0 or more"),
        (("app", "stop", "x", "--settle-after", "3"), "--settle-after says how to wait; add --wait."),
        (("app", "rollback", "x", "1"), "'1' is too much. A revision is given as --to 1."),
        (("secret", "create", "x", "--from-file", "a=-", "--from-file", "b=-"), "can be read once"),
        (("app", "create", "x", "nginx"), "'nginx' is too much. An image is given as --image nginx"),
        (("secret", "create", "x", "a=b"), "A value is given as --from-literal a=b"),
        (("app", "create", "x", "--mount", "data:/data"), "Write volume=data,path=/data or bind=/srv"),
        (("app", "logs", "x", "-o", "yaml"), "with -o json"),
    ],
)
def test_what_was_meant_is_told(run: Run, line: tuple[str, ...], words: str) -> None:
    assert words in run(*line, code=2, input="image: web:1").stderr


def test_a_secret_whose_file_has_no_values_to_add_to(run: Run) -> None:
    told = run("secret", "create", "x", "-f", "-", "--from-literal", "a=b", input="data: [1]", code=2).stderr
    assert "data in the file has to be an object" in told
    run("secret", "create", "x", "-f", "-", "--from-literal", "a=b", input="data:")


def test_what_is_wrong_is_told_by_options_or_by_fields(run: Run) -> None:
    assert "\n  --image: is required" in run("app", "create", "x", "--cluster", "here", code=1).stderr
    assert "\n  /image: is required" in run("app", "create", "x", "-f", "-", input="cluster: here", code=1).stderr
    assert "\n  --kind: " in run("cluster", "register", "x", "--kind", "nothing", code=1).stderr


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("app", "scale", "hello", "1001"), "REPLICAS: must be at most 1000"),
        (("app", "rollback", "hello", "--to", "9"), "--to: There is no revision 9"),
        (("app", "logs", "hello", "--since", "soon"), "--since: must be a time"),
        (("app", "list", "--marker", "x"), "--marker: The marker"),
        (("events", "--after", "x"), "--after: "),
        (("container", "delete", "hello-1", "--keep"), "--keep: It is a replica"),
        (("container", "kill", "hello-1", "-s", "x"), "--signal: "),
    ],
)
def test_what_is_refused_is_called_as_it_was_typed(run: Run, line: tuple[str, ...], words: str) -> None:
    assert f"\n  {words}" in run(*line, code=1).stderr


def test_how_long_a_reason_is_waited_out(run: Run) -> None:
    line = ("app", "create", "bad", "--cluster", "here", "--image", "web:1", "--wait=20", "--settle-after=0")
    assert "CrashLoop" in run(*line, "--", "sh", "-c", "exit 1", code=3).stderr


@pytest.mark.usefixtures("hello")
def test_a_replica_that_was_deleted_is_gone(run: Run, api: httpx.Client) -> None:
    before = {one["id"] for one in api.get("/v1/apps/hello/containers").json()["containers"]}
    assert run("container", "delete", "hello-1", "--wait=20").stdout == "container hello-1 is deleted.\n"
    there = {one["id"] for one in api.get("/v1/apps/hello/containers").json()["containers"]}
    assert len(before & there) == 1


@pytest.mark.parametrize("signal", ["kill", "KILL", "SIGKILL", "9"])
def test_signals_as_people_write_them(run: Run, signal: str) -> None:
    run("container", "create", "job", "--cluster", "here", "--image", "web:1", "--restart", "never", "--wait")
    run("container", "kill", "job", "-s", signal)


def test_nobody_there_is_exit_code_5(run: Run) -> None:
    told = run("--endpoint", "http://127.0.0.1:9", "app", "list", code=5)
    assert told.stderr.startswith("Error: No service can be reached at http://127.0.0.1:9: ")
    assert "--endpoint (ZUN_COE_ENDPOINT) names another" in told.stderr


def test_waiting_for_what_fails_is_exit_code_3(run: Run, outside: Outside) -> None:
    outside.set_image("gone:1", Image(missing=True))
    line = ("app", "create", "bad", "--cluster", "here", "--image", "gone:1", "--deadline", "1", "--wait=20")
    told = run(*line, code=3)
    assert "ImageNotFound" in told.stdout
    assert "bad is Failed: 0 of 1 ready. " in told.stderr
    assert "Push" in run("app", "diagnose", "bad").stdout or "Check the image" in run("app", "diagnose", "bad").stdout


@pytest.mark.usefixtures("hello")
def test_what_works_after_a_rollout_went_back_has_not_failed(run: Run, outside: Outside) -> None:
    """A script can tell: the rollout itself has, as often as it is asked for."""
    outside.set_image("gone:1", Image(missing=True))
    update = ("app", "update", "hello", "--image", "gone:1", "--on-failure", "rollback", "--deadline", "1", "--wait=30")
    for _ in range(2):
        told = run(*update, code=3).stderr
        assert "was rolled back. RolloutStuck: The cluster refuses the new template: There is no image gone:1." in told
    for line in (("scale", "hello", "3"), ("stop", "hello"), ("start", "hello")):
        told = run("app", *line, "--wait=30")
        assert "RolloutStuck" in told.stdout


def test_waiting_in_vain_is_exit_code_4(run: Run, outside: Outside) -> None:
    outside.set_image("slow:1", Image(pull=600))
    told = run("app", "create", "slow", "--cluster", "here", "--image", "slow:1", "--wait=0.2", code=4)
    assert "Time is up after 0.2 s. slow is " in told.stderr
    assert "It goes on in the service." in told.stderr


def test_containers(run: Run) -> None:
    line = ("container", "create", "job", "--cluster", "here", "--image", "web:1")
    assert "Running" in run(*line, "--wait", "--", "sleep", "600").stdout
    for verb, phase in (("pause", "Paused"), ("unpause", "Running"), ("stop", "Stopped"), ("start", "Running")):
        assert phase in run("container", verb, "job", "--wait").stdout
    run("container", "restart", "job", "--wait")
    run("container", "update", "job", "--label", "tier=x", "--wait")
    assert run("container", "list", "--label", "tier=x", "-o", "name").stdout == "container/job\n"
    run("container", "unpause", "job", code=1)
    assert run("container", "delete", "job", "--wait").stdout == "container job is deleted.\n"


def test_a_signal(run: Run) -> None:
    line = ("container", "create", "job", "--cluster", "here", "--image", "web:1", "--restart", "never")
    run(*line, "--wait", "--", "sleep", "600")
    run("container", "kill", "job", "-s", "KILL")
    wait_until(lambda: "Exited" in run("container", "list").stdout)


def test_a_job_that_fails_is_exit_code_3(run: Run) -> None:
    line = ("container", "create", "job", "--cluster", "here", "--image", "web:1", "--restart", "never")
    run(*line, "--", "sh", "-c", "exit 7")
    wait_until(lambda: "Exited" in run("container", "list").stdout)
    told = run("container", "update", "job", "--label", "a=b", "--wait", code=3)
    assert "exit code 7" in told.stderr


def test_secrets_come_from_files_and_are_never_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("top\n")
    line = ("secret", "create", "db", "--from-file", f"key={tmp_path / 'key'}", "--from-file", "password=-")
    made = run(*line, "--from-literal", "user=ann", "-o", "json", input="hidden")
    assert json.loads(made.stdout)["keys"] == ["key", "password", "user"]
    assert not {"top", "hidden", "ann"} & set(run("secret", "show", "db").stdout.split())
    run("secret", "create", "asked", "--prompt", "pin", input="1234\n")
    assert run("secret", "list", "-o", "name", "--sort", "name").stdout == "secret/asked\nsecret/db\n"
    assert run("secret", "delete", "db", "asked").stdout.count("is deleted") == 2


def test_clusters(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    second = SimulatedCluster()
    second.identity = "the second"
    monkeypatch.setitem(CLUSTERS, "second", second)
    line = ("cluster", "register", "second", "--kind", "simulated", "--cluster-endpoint", f"{SCHEME}second")
    assert "Ready" in run(*line, "--label", "zone=x", "--wait=20").stdout
    run("cluster", "update", "second", "--label", "zone-")
    assert json.loads(run("cluster", "show", "second", "-o", "json").stdout)["labels"] == {}
    assert "nothing to accept" in run("cluster", "accept-identity", "second", code=1).stderr
    second.identity = "another"
    run("cluster", "update", "second", "--label", "zone=y")

    def changed() -> bool:
        status = json.loads(run("cluster", "show", "second", "-o", "json").stdout)["status"]
        return status.get("reason") == "BackendChanged"

    wait_until(changed, 20, "it is another one")
    assert "Ready" in run("cluster", "accept-identity", "second", "--wait=20").stdout
    run("cluster", "delete", "second", "--wait")
    assert run("cluster", "list", "-o", "name").stdout == "cluster/here\n"
    assert re.search(r"^/replicas +native +all +-$", run("cluster", "capabilities", "here").stdout, re.M)


def test_hosts_are_drained_and_undrained(run: Run, tmp_path: Path) -> None:
    one, two = (f"name={name},endpoint=unix://{tmp_path}/{name},label.zone=x" for name in "ab")
    run("cluster", "register", "hosts", "--kind", "native", "--host", one, "--host", two)

    def schedulable() -> dict[str, bool]:
        hosts = json.loads(run("cluster", "show", "hosts", "-o", "json").stdout)["hosts"]
        assert all(host["labels"] == {"zone": "x"} for host in hosts)
        return {host["name"]: host["schedulable"] for host in hosts}

    run("cluster", "drain", "hosts", "a")
    assert schedulable() == {"a": False, "b": True}
    run("cluster", "drain", "hosts", "a")
    run("cluster", "undrain", "hosts", "a")
    assert schedulable() == {"a": True, "b": True}
    assert "has no host c; it has a, b." in run("cluster", "drain", "hosts", "c", code=2).stderr
    run("cluster", "delete", "hosts", "--force", "--wait")


def test_a_cluster_that_can_not_be_reached_is_exit_code_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    away = SimulatedCluster()
    away.faults.away = True
    monkeypatch.setitem(CLUSTERS, "away", away)
    line = ("cluster", "register", "away", "--kind", "simulated", "--cluster-endpoint", f"{SCHEME}away")
    assert "Unreachable" in run(*line, "--wait=20", code=3).stdout
    run("cluster", "delete", "away", "--force", "--wait")


def test_volumes(run: Run) -> None:
    line = ("app", "create", "db", "--cluster", "here", "--image", "web:1", "--mount", "path=/x,volume=data,size=1Gi")
    run(*line, "--wait")
    assert re.search(r"^data +\w+ +here +\S+ +1Gi +\S*db +", run("volume", "list").stdout, re.M)
    assert "Conflict" in run("volume", "delete", "data", code=1).stderr
    run("app", "delete", "db", "--wait")
    assert run("volume", "delete", "data", "--wait").stdout == "volume data is deleted.\n"


def test_services(run: Run) -> None:
    assert re.search(r" serve +", run("service", "list").stdout)
    assert "Not allowed" in run("--roles", "member", "service", "list", code=1).stderr


@pytest.mark.usefixtures("hello")
def test_the_latest_events_are_at_the_end(run: Run) -> None:
    lines = run("events", "--resource", "hello").stdout.splitlines()
    assert "AppCreated" in lines[1]
    assert "AppRunning" in lines[-1]
    (latest,) = json.loads(run("events", "-o", "json", "--limit", "1").stdout)["events"]
    assert latest["type"] == "AppRunning"
    after = json.loads(run("events", "-o", "json", "--after", latest["id"]).stdout)
    assert after == {"events": []}


@pytest.mark.usefixtures("hello")
def test_lists_of_all_projects_tell_whose(run: Run, project: str) -> None:
    for line in (("app", "list", "--name", "hello"), ("events", "--resource", "hello")):
        head, *rows = run(*line, "--all-projects").stdout.splitlines()
        assert "PROJECT" in head.split()
        assert any(project in row.split() for row in rows)
        assert "PROJECT" not in run(*line).stdout


def test_every_page_of_a_list(run: Run, api: httpx.Client) -> None:
    for number in range(5):
        body = {"name": f"c{number}", "data": {"k": "v"}}
        assert api.post("/v1/secrets", json=body).status_code == 201
    page = json.loads(run("secret", "list", "--limit", "2", "--sort", "name", "-o", "json").stdout)
    assert [s["name"] for s in page["secrets"]] == ["c0", "c1"]
    rest = run("secret", "list", "--marker", page["next"], "--sort", "name", "-o", "name").stdout
    assert rest.split() == ["secret/c2", "secret/c3", "secret/c4"]
    assert "There are more, from --marker" in run("secret", "list", "--limit", "1").stderr


def test_help_tells_exit_codes_and_completion(run: Run) -> None:
    told = run("--help").stdout
    assert "130  interrupted" in told
    assert "_ZUN_COE_COMPLETE=bash_source" in told
    assert "[-- CMD [ARG]...]" in run("app", "create", "--help").stdout
