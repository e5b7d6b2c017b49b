"""The program as a process of its own: signals, pipes and terminals, and the commands that serve."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from cryptography.fernet import Fernet

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import Image, Outside
from zun_coe.store import open_store
from zun_coe.store.cache import Cache, Entry
from zun_coe.vault import Undecryptable, Vault

# The program, with signals as a terminal's foreground has them, however the tests were started.
PROGRAM = """import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from zun_coe.cli import main
main()"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the program; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **given: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | given
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], text=True, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        with process:
            pass  # it closes the pipes, and waits


@pytest.fixture
def run(start: Start, service: Service, project: str) -> Start:
    """Starts a user's command in the test's own project."""
    whose = ("--endpoint", service.server.url, "--project", project)
    return lambda *arguments, **given: start(*whose, *arguments, **given)


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.fixture
def logging(app_of: Callable[..., Any], outside: Outside, project: str) -> Callable[[str], None]:
    """Prints a line from an app of the test's project."""
    app_of(f"hello-{project}", replicas=1)
    (container,) = outside.containers(f"hello-{project}")
    return lambda text: outside.log(container.native_id, text)


def test_logs_end_when_they_are_interrupted(run: Start, logging: Callable[[str], None], project: str) -> None:
    logging("one")
    following = run("app", "logs", f"hello-{project}", "--follow", "--tail", "1")
    assert "one" in line_of(following.stdout)
    logging("two")
    assert "two" in line_of(following.stdout)
    following.send_signal(signal.SIGINT)
    assert following.communicate(timeout=20) == ("", "")
    assert following.returncode == 130


def test_logs_end_quietly_when_nobody_reads_them(run: Start, logging: Callable[[str], None], project: str) -> None:
    logging("one")
    following = run("app", "logs", f"hello-{project}", "--follow")
    assert "one" in line_of(following.stdout)
    assert following.stdout is not None
    following.stdout.close()
    following.stdout = None

    def ended() -> bool:
        logging("more")
        return following.poll() is not None

    wait_until(ended)
    assert following.communicate()[1] == ""
    assert following.returncode == 0


def test_logs_for_programs(run: Start, logging: Callable[[str], None], project: str) -> None:
    logging("one")
    out, _ = run("app", "logs", f"hello-{project}", "-o", "json", "--tail", "1").communicate(timeout=20)
    assert json.loads(out)["text"] == "one"


def test_events_as_they_happen(run: Start, api: httpx.Client) -> None:
    following = run("events", "--follow", "--subject", "secret", "-o", "json", "--after", "0-0")
    for name in ("a", "b"):
        assert api.post("/v1/secrets", json={"name": name, "data": {"k": "v"}}).status_code == 201
        assert json.loads(line_of(following.stdout))["subject_name"] == name
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=20)
    assert following.returncode == 130


def test_who_will_not_wait_is_told_that_the_work_goes_on(run: Start, outside: Outside) -> None:
    outside.set_image("slow:1", Image(pull=600))
    waiting = run("app", "create", "slow", "--cluster", "here", "--image", "slow:1", "--wait=60")
    assert line_of(waiting.stderr).startswith("slow is ")
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=20)
    assert "The work on slow goes on in the service" in told
    assert waiting.returncode == 130


class Terminal:
    """A terminal of which the test is the person."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def sees(self, text: str) -> None:
        """Reads until the text is shown."""
        deadline = time.monotonic() + 30
        while text not in self.shown:
            more = select.select([self._ours], [], [], 30)[0] and time.monotonic() < deadline
            assert more, f"{text!r} was never shown, but {self.shown[-1000:]!r}"
            self.shown += os.read(self._ours, 4096).decode(errors="replace")

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.mark.parametrize(("typed", "code", "left"), [("n\n", 130, 200), ("y\n", 0, 404)])
def test_a_person_is_asked_before_anything_is_deleted(
    run: Start, api: httpx.Client, terminal: Terminal, typed: str, code: int, left: int
) -> None:
    api.post("/v1/secrets", json={"name": "db", "data": {"k": "v"}})
    deleting = run("secret", "delete", "db", stdin=terminal.theirs, stderr=terminal.theirs)
    terminal.sees("Delete the secret db? [y/N]:")
    terminal.type(typed)
    assert deleting.wait(20) == code
    assert api.get("/v1/secrets/db").status_code == left


def test_progress_on_a_terminal(run: Start, outside: Outside, terminal: Terminal, project: str) -> None:
    outside.set_image("late:1", Image(pull=2))
    name = f"late-{project}"
    line = ("app", "create", name, "--cluster", "here", "--image", "late:1", "--replicas", "2", "--wait=60")
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "120"}
    waiting = run(*line, stdout=terminal.theirs, stderr=terminal.theirs, env=environment)
    terminal.sees("0 of 2 ready")
    terminal.sees("\x1b[32mRunning")
    assert waiting.wait(20) == 0


# Commands that serve.


@pytest.mark.parametrize("line", [("version",), ("--help",), ("app", "list", "--help")])
def test_an_output_without_room_is_told(line: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([sys.executable, "-c", PROGRAM, *line], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"Error: The output can't be written: No space left on device.\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_until_it_is_asked_to_end(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    store = f"sqlite:///{tmp_path / 'state.db'}"
    config = tmp_path / "zun-coe.toml"
    config.write_text(f'log_format = "json"\nlisten = "127.0.0.1:1"\nstore = "{store}"\n')
    serving = start("serve", "--config", str(config), "--listen", f"127.0.0.1:{port}")
    wait_until(lambda: answers(f"http://127.0.0.1:{port}") or serving.poll() is not None)
    twice = start("serve", "--listen", f"127.0.0.1:{port}", "--store", f"sqlite:///{tmp_path / 'other.db'}")
    _, told = twice.communicate(timeout=30)
    assert (twice.returncode, told.count("\n")) == (2, 1)
    assert "in use" in told
    serving.send_signal(number)
    _, log = serving.communicate(timeout=30)
    assert serving.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("started", "stopped")] == ["started", "stopped"]


def begun(serving: subprocess.Popen[str]) -> dict[str, Any]:
    """What a gateway says when it has started."""
    return next(told for told in _told(serving) if told["event"] == "started")


@pytest.mark.parametrize("role", ["serve", "api", "engine"])
@pytest.mark.parametrize("source", ["line", "environment", "file"])
def test_it_is_not_open_to_other_machines_by_mistake(start: Start, tmp_path: Path, role: str, source: str) -> None:
    config = tmp_path / "zun-coe.toml"
    config.write_text('listen = "0.0.0.0:0"\n' if source == "file" else "")
    line = ["--listen", "0.0.0.0:0"] if source == "line" else []
    environment = {"ZUN_COE_LISTEN": "0.0.0.0:0"} if source == "environment" else {}
    store = f"sqlite:///{tmp_path / 'state.db'}"
    refused = start(role, "--config", str(config), "--store", store, *line, env=os.environ | environment)
    _, told = refused.communicate(timeout=30)
    assert (refused.returncode, told.count("\n")) == (2, 1)
    assert "--allow-unauthenticated" in told
    assert not (tmp_path / "state.db").exists()


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "0"])
def test_what_it_says_when_it_has_started(start: Start, tmp_path: Path, listen: str) -> None:
    store = f"sqlite:///{tmp_path / 'state.db'}"
    environment = os.environ | {"ZUN_COE_ALLOW_UNAUTHENTICATED": "true", "ZUN_COE_LOG_FORMAT": "json"}
    serving = start("serve", "--listen", listen, "--store", store, env=environment)
    told = begun(serving)
    assert (told["store"], told["auth"]) == (store, "none")
    assert told["listen"].startswith("http://0.0.0.0:" if listen != "0" else "http://127.0.0.1:")
    assert (told["level"], "warning" in told) == (("warning", True) if listen != "0" else ("info", False))
    serving.terminate()
    serving.communicate(timeout=30)


def test_a_hangup_reloads_and_never_ends_it(start: Start, tmp_path: Path) -> None:
    """The level of the log and the encryption keys change; what needs a restart is named; nothing that is wrong is
    taken. A service manager is told."""
    config, store = tmp_path / "zun-coe.toml", f"sqlite:///{tmp_path / 'state.db'}"
    old, new, foreign = (Fernet.generate_key().decode() for _ in range(3))

    def configure(level: str, keys: str, workers: int = 4) -> None:
        config.write_text(f'log_level = "{level}"\nencryption_keys = "{keys}"\nworkers = {workers}\n')

    def hang_up() -> dict[str, Any]:
        serving.send_signal(signal.SIGHUP)
        return next(told for told in _told(serving) if told["event"].startswith("reload"))

    configure("info", old)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "ZUN_COE_LOG_FORMAT": "json"}
        serving = start("serve", "--listen", "0", "--config", str(config), "--store", store, env=environment)
        url = begun(serving)["listen"]
        assert manager.recv(1000).startswith(b"READY=1\nSTATUS=")
        with httpx.Client(base_url=url, trust_env=False) as api:
            configure("info", foreign)
            assert "does not open" in hang_up()["error"]
            configure("loud", new + "," + old)
            assert "log_level" in hang_up()["error"]
            config.write_text("nonsense")
            assert "cannot be read" in hang_up()["error"]
            assert api.post("/v1/secrets", json={"name": "old", "data": {"a": "b"}}).status_code == 201
            configure("info", f"{new},{old}", workers=5)
            assert hang_up()["needs_restart"] == "workers"
            assert api.post("/v1/secrets", json={"name": "new", "data": {"a": "b"}}).status_code == 201
            configure("error", f"{new},{old}")
            serving.send_signal(signal.SIGHUP)
            states = [manager.recv(1000).partition(b"\n")[0] for _ in range(10)]
            assert states == [b"RELOADING=1", b"READY=1"] * 5
            assert api.get("/healthz").status_code == 200
        serving.terminate()
        told = [line["path"] for line in _told(serving) if line["event"] == "request"]
        assert told == ["/v1/secrets"], "the level is error by now"
        assert manager.recv(1000) == b"STOPPING=1"
    assert serving.wait(30) == 0
    sealed = [s.value.data for s in _secrets(store)]
    assert [_opens([key], each) for key in (old, new) for each in sealed] == [True, False, False, True]


def test_a_hangup_before_it_serves_does_not_end_it(start: Start, tmp_path: Path) -> None:
    environment = os.environ | {"ZUN_COE_LOG_FORMAT": "json"}
    serving = start("serve", "--listen", "0", "--store", f"sqlite:///{tmp_path / 'state.db'}", env=environment)
    handled = Path(f"/proc/{serving.pid}/status")

    def heeds() -> bool:
        caught = next(line for line in handled.read_text().splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1))

    wait_until(heeds)
    serving.send_signal(signal.SIGHUP)
    begun(serving)
    assert next(_told(serving))["event"] == "reloaded"
    serving.terminate()
    serving.communicate(timeout=30)
    assert serving.returncode == 0


def test_it_serves_on_when_nobody_reads_its_log(start: Start, tmp_path: Path) -> None:
    environment = os.environ | {"ZUN_COE_LOG_FORMAT": "json"}
    serving = start("serve", "--listen", "0", "--store", f"sqlite:///{tmp_path / 'state.db'}", env=environment)
    url = begun(serving)["listen"]
    assert serving.stderr is not None
    serving.stderr.close()
    serving.stderr = None
    with httpx.Client(base_url=url, trust_env=False) as api:
        assert [api.get("/v1/apps").status_code for _ in range(3)] == [200, 200, 200]
    serving.terminate()
    assert serving.wait(30) == 0


def _told(serving: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    while line := line_of(serving.stderr):
        yield json.loads(line)


def _secrets(url: str) -> list[Entry]:
    store = open_store(url)
    cache = Cache(store)
    cache.start()
    found = sorted(cache.list("secret/"), key=lambda entry: entry.created)
    cache.close()
    store.close()
    return found


def _opens(keys: list[str], sealed: str) -> bool:
    try:
        return bool(Vault(keys).open(sealed))
    except Undecryptable:
        return False


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--store", "mysql://x", "store: mysql:// names no store"),
        ("--store", "/x.db", "store: it names no store: for the file '/x.db' use sqlite:////x.db"),
        ("--store", "x.db", "use sqlite:///x.db"),
        ("--store", "sqlite://x.db", "names no file"),
        ("--store", "etcd://127.0.0.1:1", "needs encryption_keys"),
        ("--auth", "magic", "auth = 'magic'"),
        ("--listen", "nowhere", "(the setting listen)"),
        ("--listen", "unix:", "(the setting listen)"),
        ("--log-level", "loud", "log_level = 'loud'"),
        ("--workers", "many", "--workers"),
        ("--threads", "0", "threads to 0: it must be at least 1"),
        ("--config", "/absent.toml", "/absent.toml"),
        ("--encryption-keys", "abc", "encryption_keys holds what is no key: "),
    ],
)
def test_a_wrong_setting_is_one_sentence(start: Start, tmp_path: Path, option: str, value: str, words: str) -> None:
    environment = os.environ | {"ZUN_COE_STORE": f"sqlite:///{tmp_path / 'state.db'}"}
    serving = start("serve", "--listen", "127.0.0.1:0", option, value, env=environment)
    _, told = serving.communicate(timeout=30)
    assert serving.returncode == 2
    assert "Error: " in told
    assert words in told
    assert "Traceback" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide files from itself")
@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("folder", "(store = sqlite:///{folder}/state.db): {folder}/state.db cannot be used: [Errno 13]"),
        ("folder/state.key", "key file {folder}/state.key of the store can't be used: Permission denied"),
    ],
)
def test_what_it_may_not_read_is_told_with_its_setting(tmp_path: Path, closed: str, words: str) -> None:
    """Files of somebody else, for a root without its privileges."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "state.key").write_text(Fernet.generate_key().decode())
    os.chown(tmp_path / closed, 65534, 65534)
    os.chmod(tmp_path / closed, 0o700)
    line = ["serve", "--listen", "0", "--store", f"sqlite:///{folder}/state.db"]
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what is executed then has neither
    bare = "import ctypes, os; [ctypes.CDLL(None).prctl(24, capability) for capability in (1, 2)]"
    again = f"{bare}; os.execv({sys.executable!r}, {[sys.executable, '-c', PROGRAM, *line]!r})"
    done = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert words.format(folder=folder) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_the_gateway_takes(start: Start) -> None:
    key, _ = start("key").communicate(timeout=20)
    assert Vault([key.strip()]).open(Vault([key.strip()]).seal({"a": 1})) == {"a": 1}
