"""ZooKeeper's nodes in memory behind the calls of kazoo that bubuku's own adapters make. Callers: their unit tests.

One server, one session, no watches; the contract suite has the same on a real ZooKeeper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError, RolledBackError

from bubuku.core.errors import TimedOutError


@dataclass
class Stat:
    version: int = 0
    czxid: int = 0
    ephemeralOwner: int = 0
    mtime: int = 1_700_000_000_000


@dataclass
class Answer:
    value: Any

    def get(self, timeout: float | None = None) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@dataclass
class Client:
    nodes: dict[str, tuple[bytes, Stat]] = field(default_factory=dict)
    counter: int = 0
    calls: list[str] = field(default_factory=list)
    before: Callable[[str, str], None] | None = None  # (what, path): somebody else gets in between

    def _do(self, what: str, path: str, act: Callable[[], Any]) -> Answer:
        self.calls.append(what)
        if self.before is not None:
            self.before(what, path)
        try:
            return Answer(act())
        except (NoNodeError, NodeExistsError, BadVersionError) as error:
            return Answer(error)

    def sync_async(self, path: str) -> Answer:
        return self._do("sync", path, lambda: path)

    def get_async(self, path: str, watch: Any = None) -> Answer:
        return self._do("get", path, lambda: self.read(path))

    def exists_async(self, path: str, watch: Any = None) -> Answer:
        return self._do("exists", path, lambda: self.nodes[path][1] if path in self.nodes else None)

    def get_children_async(self, path: str, watch: Any = None) -> Answer:
        def names() -> list[str]:
            self.read(path)
            return [each.rsplit("/", 1)[1] for each in self.nodes if each.rsplit("/", 1)[0] == path]

        return self._do("children", path, names)

    def ensure_path_async(self, path: str, acl: Any = None) -> Answer:
        return self._do("ensure", path, lambda: self.nodes.setdefault(path, (b"", Stat())))

    def create_async(self, path: str, body: bytes) -> Answer:
        return self._do("create", path, lambda: self.create(path, body))

    def set_async(self, path: str, body: bytes, version: int) -> Answer:
        return self._do("set", path, lambda: self.set(path, body, version))

    def delete_async(self, path: str, version: int = -1) -> Answer:
        return self._do("delete", path, lambda: self.delete(path, version))

    def transaction(self) -> Transaction:
        return Transaction(self)

    def read(self, path: str) -> tuple[bytes, Stat]:
        if path not in self.nodes:
            raise NoNodeError
        return self.nodes[path]

    def create(self, path: str, body: bytes, sequence: bool = False) -> str:
        if sequence:
            path, self.counter = f"{path}{self.counter:010d}", self.counter + 1
        if path in self.nodes:
            raise NodeExistsError
        self.read(path.rsplit("/", 1)[0])
        self.nodes[path] = (body, Stat())
        return path

    def set(self, path: str, body: bytes, version: int) -> Stat:
        stat = self.read(path)[1]
        if version not in (-1, stat.version):
            raise BadVersionError
        self.nodes[path] = (body, Stat(stat.version + 1))
        return self.nodes[path][1]

    def delete(self, path: str, version: int) -> None:
        if version not in (-1, self.read(path)[1].version):
            raise BadVersionError
        del self.nodes[path]


@dataclass
class Transaction:
    client: Client
    acts: list[Callable[[], Any]] = field(default_factory=list)

    def create(self, path: str, body: bytes, sequence: bool = False) -> None:
        self.acts.append(lambda: self.client.create(path, body, sequence))

    def delete(self, path: str, version: int) -> None:
        self.acts.append(lambda: self.client.delete(path, version))

    def set_data(self, path: str, body: bytes, version: int) -> None:
        self.acts.append(lambda: self.client.set(path, body, version))

    def check(self, path: str, version: int) -> None:
        def same() -> None:
            if self.client.read(path)[1].version != version:
                raise BadVersionError

        self.acts.append(same)

    def commit_async(self) -> Answer:
        def commit() -> list[Any]:
            kept, answers = dict(self.client.nodes), []
            for act in self.acts:
                try:
                    answers.append(act())
                except (NoNodeError, NodeExistsError, BadVersionError) as error:
                    self.client.nodes.clear()
                    self.client.nodes.update(kept)
                    return [RolledBackError()] * len(answers) + [error]
            return answers

        return self.client._do("commit", "", commit)


@dataclass
class Session:
    """As much of the adapter's session as its nodes need. `lost`: the next call of this name has no reply."""

    client: Client = field(default_factory=Client)
    lost: str | None = None

    def path(self, *parts: str | int) -> str:
        return "/".join(("/kafka", *map(str, parts)))

    def add_listener(self, changed: Callable[[], None]) -> None:
        pass

    def ensure(self, path: str, until: float) -> None:
        parts = path.split("/")
        for n in range(2, len(parts) + 1):
            self.client.ensure_path_async("/".join(parts[:n]))

    def call(self, begin: Callable[[Any], Any], until: float, doing: str) -> Any:
        answer = begin(self.client)
        if self.lost is not None and self.client.calls[-1] == self.lost:
            self.lost = None
            raise TimedOutError(f"ZooKeeper gave no answer to {doing}")
        return answer.get()

    def gather(self, begins: dict[str, Callable[[Any], Any]], until: float, doing: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, begin in begins.items():
            try:
                found[key] = self.call(begin, until, doing)
            except NoNodeError:
                found[key] = None
        return found
