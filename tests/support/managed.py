"""The managed side: a tree of what Ansible sends to a host, the Pythons that run it, and one run of a module."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ansible
from paths import ROOT

TREE = ROOT / ".cache" / "managed"
COLLECTION = Path("ansible_collections", "wharf", "registry", "plugins")
# Those that ansible-core 2.19 supports on managed hosts.
SUPPORTED = [(3, minor) for minor in range(8, 14)]
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def build_tree() -> None:
    """Make the tree where it is not there, or is not as the checkout: no run may use it with other modules then.

    It is a copy, so that a container that sees nothing else of the checkout can run it, and an old Python that looks
    for a file beside a module finds no more than it would find on a host.
    """
    TREE.parent.mkdir(exist_ok=True)
    # It stays open, and so locked, as long as this process lives.
    lock = os.open(TREE.with_name("managed.lock"), os.O_RDWR | os.O_CREAT)
    new = TREE.with_name(f"managed.{os.getpid()}")
    copy_to(new)
    try:
        for _attempt in range(50):
            fcntl.flock(lock, fcntl.LOCK_SH)
            if contents(TREE) == contents(new):
                return
            fcntl.flock(lock, fcntl.LOCK_UN)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(TREE, ignore_errors=True)
                new.rename(TREE)
                fcntl.flock(lock, fcntl.LOCK_SH)
                return
            time.sleep(0.2)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    raise AssertionError("another run, of other modules, is under way in this checkout")


def contents(tree: Path) -> dict[Path, bytes]:
    return {path.relative_to(tree): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def copy_to(new: Path) -> None:
    """Copy ansible-core's module_utils, the collection's modules and module_utils, and the launcher."""
    shutil.rmtree(new, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(ansible.__file__).parent / "module_utils", new / "ansible" / "module_utils", ignore=ignore)
    for kind in ("modules", "module_utils"):
        shutil.copytree(ROOT / "plugins" / kind, new / COLLECTION / kind, ignore=ignore)
    shutil.copy(Path(__file__).with_name("launch.py"), new)
    # As Ansible's wrapper does, which sends no __init__.py of ansible-core's.
    for package in (new / "ansible", *(path for path in (new / "ansible_collections").rglob("*") if path.is_dir())):
        (package / "__init__.py").touch()
    # Other accounts read it in the container of the clients, whatever the umask of this one is.
    for path in (new, *new.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def pythons() -> dict[str, str]:
    """The Pythons of this machine that modules must run with, by version: those on the PATH and those of pyenv."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    if shutil.which("pyenv"):
        answer = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.strip()
        folders += Path(answer, "versions").glob("*/bin")
    found = {}
    for version in SUPPORTED:
        name = "python{}.{}".format(*version)
        for candidate in (folder / name for folder in folders):
            if not os.access(candidate, os.X_OK):
                continue
            # A shim of pyenv for a version that is not selected is executable, too.
            probe = [candidate, "-c", "import ssl, sys; print(*sys.version_info[:2])"]
            answer = subprocess.run(probe, capture_output=True, text=True, check=False)
            if answer.returncode == 0 and answer.stdout.split() == [str(part) for part in version]:
                found[name] = str(candidate)
                break
    return found


@dataclasses.dataclass(frozen=True)
class Host:
    """Where modules run: this machine, with one of its Pythons, or an account of a container (see clients.py)."""

    python: str = sys.executable
    # What comes before the command, the tree as it is seen there, and the environment that every run has.
    prefix: tuple[str, ...] = ()
    tree: str = str(TREE)
    env: dict[str, str] = dataclasses.field(default_factory=dict)

    def command(self, name: str, env: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line of a run of the module and the environment that it is started with."""
        wanted = {"LC_ALL": "C.UTF-8", **self.env, **env}
        if self.prefix:
            # The container's own environment is the base, and only what is set here comes on top.
            settings = [f"--env={key}={value}" for key, value in wanted.items()]
            *exec_command, container = self.prefix
            return [*exec_command, *settings, container, self.python, f"{self.tree}/launch.py", name], dict(os.environ)
        # Bytecode goes beside the other caches and not into the tree.
        base = {"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "pycache")}
        return [self.python, f"{self.tree}/launch.py", name], base | wanted

    def start(
        self,
        name: str,
        args: dict[str, object],
        *,
        env: dict[str, str] | None = None,
        check: bool = False,
        diff: bool = True,
    ) -> subprocess.Popen[str]:
        """Start the module. Its arguments are in its standard input, and the caller collects it."""
        internal = {
            "_ansible_check_mode": check,
            "_ansible_diff": diff,
            "_ansible_module_name": f"wharf.registry.{name}",
            "_ansible_no_log": False,
            "_ansible_verbosity": 3,
            "_ansible_version": ansible.release.__version__,
        }
        command, environment = self.command(name, env or {})
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        # A module that died already is reported by `collect`, with what it said.
        try:
            process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": args | internal}))
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdin = None
        return process

    def run_module(
        self,
        name: str,
        args: dict[str, object],
        *,
        failed: bool = False,
        env: dict[str, str] | None = None,
        check: bool = False,
        diff: bool = True,
        secrets: tuple[str, ...] = (),
    ) -> dict:
        """Run the module and return its result; see `collect` for what every run must keep to."""
        return collect(self.start(name, args, env=env, check=check, diff=diff), args, failed=failed, secrets=secrets)


def collect(
    process: subprocess.Popen[str],
    args: dict[str, object],
    *,
    failed: bool = False,
    secrets: tuple[str, ...] = (),
    timeout: float = 90,
) -> dict:
    """Wait for a module, and return its result. Every run must end as told, and tell no secret however it ends."""
    began = time.monotonic()
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"the module did not end within {time.monotonic() - began:.0f} s") from None
    said = stdout + stderr
    assert_silent(said, args, secrets)
    assert "Traceback" not in said, said
    try:
        result = json.loads(stdout)
    except json.JSONDecodeError:
        raise AssertionError(f"the module ended with {process.returncode} and no result:\n{said}") from None
    assert result.get("failed", False) is failed, result
    assert process.returncode == (1 if failed else 0), said
    if args.get("password") is not None:
        assert result["invocation"]["module_args"]["password"] == HIDDEN
    if failed:
        # One message for a person, on as few lines as it needs.
        assert result["msg"].strip() and "exception" not in result, result
    return result


def assert_silent(text: str, args: dict[str, object], secrets: tuple[str, ...] = ()) -> None:
    """No secret may be in the text: neither as it is, nor as a header or a credential file would hold it."""
    hidden = [str(args["password"]), *secrets] if args.get("password") else list(secrets)
    for secret in hidden:
        assert secret not in text, "a secret was told"
        assert encoded(secret) not in text, "a secret was told, in base64"
        if args.get("username"):
            assert encoded(f"{args['username']}:{secret}") not in text, "credentials were told, in base64"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def words(text: str) -> str:
    """The text on one line, for messages that are compared with others or searched."""
    return re.sub(r"\s+", " ", text)
