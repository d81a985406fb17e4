"""A ZooKeeper of one process: nodes with versions and transactions, behind the calls that our adapters make of kazoo.

Caller: tests/unit/test_zookeeper_permit.py. `NodeSession` stands for `adapters.zookeeper.session.Session`, `NodeCache`
for its `WatchedNodes`, which here remembers what it read until it is told to forget it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError, RolledBackError
from kazoo.protocol.states import ZnodeStat

from bubuku.adapters.zookeeper.cache import Node
from bubuku.core.errors import TimedOutError

MODIFIED_EPOCH = 50.0


@dataclass
class Tree:
    """path → [bytes, version]."""

    nodes: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    def get(self, path: str) -> tuple[bytes, ZnodeStat]:
        if path not in self.nodes:
            raise NoNodeError(path)
        data, version = self.nodes[path]
        stat = ZnodeStat(1, 1, 0, int(MODIFIED_EPOCH * 1000), version, 0, 0, 0, len(data), 0, 1)
        return data, stat

    def check(self, path: str, version: int) -> bool:
        if self.get(path)[1].version != version:
            raise BadVersionError(path)
        return True

    def create(self, path: str, data: bytes, sequence: bool = False) -> str:
        if sequence:
            path += f"{sum(p.startswith(path) for p in self.nodes):010d}"
        if path in self.nodes:
            raise NodeExistsError(path)
        self.nodes[path] = (data, 0)
        return path

    def set_data(self, path: str, data: bytes, version: int = -1) -> ZnodeStat:
        if version != -1:
            self.check(path, version)
        self.nodes[path] = (data, self.get(path)[1].version + 1)
        return self.get(path)[1]

    def delete(self, path: str, version: int = -1) -> bool:
        if version != -1:
            self.check(path, version)
        self.get(path)
        del self.nodes[path]
        return True


@dataclass
class Transaction:
    tree: Tree
    steps: list[Callable[[], Any]] = field(default_factory=list)

    def check(self, path: str, version: int) -> None:
        self.steps.append(lambda: self.tree.check(path, version))

    def create(self, path: str, data: bytes = b"", sequence: bool = False) -> None:
        self.steps.append(lambda: self.tree.create(path, data, sequence))

    def set_data(self, path: str, data: bytes, version: int = -1) -> None:
        self.steps.append(lambda: self.tree.set_data(path, data, version))

    def delete(self, path: str, version: int = -1) -> None:
        self.steps.append(lambda: self.tree.delete(path, version))

    def commit_async(self) -> list[Any]:
        """All or nothing; kazoo hands errors out as answers."""
        before, answers = dict(self.tree.nodes), []
        for step in self.steps:
            try:
                answers.append(step())
            except (NoNodeError, NodeExistsError, BadVersionError) as error:
                self.tree.nodes = before
                rest = [RolledBackError() for _ in self.steps]
                return [*rest[: len(answers)], error, *rest[len(answers) + 1 :]]
        return answers


@dataclass
class Client:
    """kazoo's calls; each is executed at once, and what it returns is the answer itself."""

    tree: Tree

    def get_async(self, path: str) -> Any:
        return self.tree.get(path)

    def get_children_async(self, path: str) -> list[str]:
        return [p.rsplit("/", 1)[1] for p in self.tree.nodes if p.rsplit("/", 1)[0] == path]

    def create_async(self, path: str, data: bytes) -> str:
        return self.tree.create(path, data)

    def set_async(self, path: str, data: bytes, version: int) -> ZnodeStat:
        return self.tree.set_data(path, data, version)

    def delete_async(self, path: str) -> bool:
        return self.tree.delete(path)

    def transaction(self) -> Transaction:
        return Transaction(self.tree)


@dataclass
class NodeSession:
    """`meanwhile` runs once, right before the next write: what somebody else does in between. `silent`: executed, and
    the answer is lost."""

    tree: Tree = field(default_factory=Tree)
    meanwhile: Callable[[], object] | None = None
    silent: bool = False

    def path(self, *parts: str | int) -> str:
        return "/" + "/".join(map(str, parts))

    def ensure(self, path: str, until: float) -> None:
        """Folders are not kept."""

    def call(self, begin: Callable[[Any], Any], until: float, doing: str) -> Any:
        first, self.meanwhile = self.meanwhile, None
        if first is not None:
            first()
        answer = begin(Client(self.tree))
        if self.silent:
            raise TimedOutError(f"no answer to {doing}")
        return answer

    def gather(self, begins: dict[str, Callable[[Any], Any]], until: float, doing: str) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for path, begin in begins.items():
            try:
                answers[path] = begin(Client(self.tree))
            except NoNodeError:
                answers[path] = None
        return answers


@dataclass
class NodeCache:
    tree: Tree
    known: dict[str, Node | None] = field(default_factory=dict)

    def nodes(self, paths: list[str], until: float) -> dict[str, Node | None]:
        for path in paths:
            if path not in self.known:
                self.known[path] = Node.of(self.tree.get(path)) if path in self.tree.nodes else None
        return {path: self.known[path] for path in paths}

    def children(self, path: str, until: float) -> tuple[str, ...]:
        return tuple(sorted(Client(self.tree).get_children_async(path)))

    def forget(self, path: str) -> None:
        self.known.pop(path, None)
