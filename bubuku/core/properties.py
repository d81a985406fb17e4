"""Java's .properties: parsed as Java does it, changed in place, and what server.properties should be. Pure.

Purpose: the operator's template keeps its lines, order and comments; bubuku replaces, adds or deletes single keys.
Callers: the configuration's start-up checks, and the adapter that renders server.properties.
Invariants: `parse(text).render() == text` while nothing was changed; what `set` writes, Java reads back as given.

Kafka reads the file as Latin-1 (`Properties.load(InputStream)`), so callers decode and encode with ENCODING.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bubuku.core.errors import UsageError
from bubuku.core.model import Mode, Role

ENCODING = "latin-1"
DEFAULT_LOG_DIR = "/tmp/kafka-logs"  # Kafka's own default for log.dir
DEFAULT_LISTENERS = "PLAINTEXT://:9092"
_WHITE = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_REVERSE = {value: "\\" + name for name, value in _ESCAPES.items()}
ID_KEYS = frozenset({"broker.id", "node.id"})
_LISTENER = re.compile(r"^\s*([A-Za-z0-9_.-]+)://(\[[0-9A-Fa-f:.%]+\]|[^:/\s]*):(\d+)\s*$")


@dataclass(frozen=True, slots=True)
class _Line:
    """A logical line: `raw` is its text with line ends, `key` None for a comment or blank line."""

    raw: str
    key: str | None = None
    value: str = ""


class Properties:
    """An ordered list of logical lines. Where a key stands more than once, the last one counts, as in Java."""

    def __init__(self, lines: list[_Line]) -> None:
        self._lines = lines

    def as_dict(self) -> dict[str, str]:
        return {line.key: line.value for line in self._lines if line.key is not None}

    def get(self, key: str) -> str | None:
        """The value without surrounding white space; None where the key is absent. An empty value stays ''."""
        value = self.as_dict().get(key)
        return None if value is None else value.strip()

    def set(self, key: str, value: str) -> None:
        """Replace the key where it first stands (further ones go), else append it. An equal value changes nothing."""
        found = [index for index, line in enumerate(self._lines) if line.key == key]
        if len(found) == 1 and self._lines[found[0]].value == value:
            return
        fresh = _Line(f"{_escape(key, is_key=True)}={_escape(value, is_key=False)}\n", key, value)
        if not found:
            if self._lines:
                last = self._lines[-1]
                self._lines[-1] = _Line(_ended(last.raw), last.key, last.value)
            self._lines.append(fresh)
            return
        self._lines[found[0]] = fresh
        for index in reversed(found[1:]):
            del self._lines[index]

    def delete(self, key: str) -> None:
        self._lines = [line for line in self._lines if line.key != key]

    def render(self) -> str:
        return "".join(line.raw for line in self._lines)


def parse(text: str) -> Properties:
    """Parse as `java.util.Properties.load` does. Raises UsageError naming the line of a malformed \\u escape."""
    lines: list[_Line] = []
    pending: list[str] = []
    joined = ""
    first = 0
    for number, raw in enumerate(_physical(text), start=1):
        body = raw.rstrip("\r\n").lstrip(_WHITE)
        # a lone backslash begins nothing yet: what follows it may still be a comment or blank
        if not joined and (not body or body[0] in "#!"):
            lines.append(_Line("".join(pending) + raw))
            pending = []
            continue
        if not pending:
            first = number
        pending.append(raw)
        if _continues(body):
            joined += body[:-1]
            continue
        lines.append(_logical("".join(pending), joined + body, first))
        pending, joined = [], ""
    if pending:
        raw = "".join(pending)
        # Java makes an empty key of a lone backslash at the very end, or not, by the kind of line end; we never do
        lines.append(_logical(raw, joined, first) if joined else _Line(raw))
    return Properties(lines)


def _physical(text: str) -> Iterator[str]:
    """Lines with their ends; only \\n, \\r and \\r\\n end one (str.splitlines knows more)."""
    yield from re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def _continues(body: str) -> bool:
    return (len(body) - len(body.rstrip("\\"))) % 2 == 1


def _ended(raw: str) -> str:
    """The file's last line, such that another one can follow it: with its end, and without a dangling backslash."""
    body = raw.rstrip("\r\n")
    if _continues(body):
        return body[:-1] + "\n"
    return raw if raw != body else raw + "\n"


def _logical(raw: str, text: str, number: int) -> _Line:
    end = 0
    while end < len(text) and text[end] not in "=:" and text[end] not in _WHITE:
        end += 2 if text[end] == "\\" else 1
    end = min(end, len(text))
    start = end
    while start < len(text) and text[start] in _WHITE:
        start += 1
    if start < len(text) and text[start] in "=:":
        start += 1
        while start < len(text) and text[start] in _WHITE:
            start += 1
    return _Line(raw, _unescape(text[:end], number), _unescape(text[start:], number))


def _unescape(text: str, number: int) -> str:
    if "\\" not in text:
        return text
    units: list[str] = []
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char != "\\" or index >= len(text):
            if char != "\\":
                units.append(char)
            continue
        char = text[index]
        index += 1
        if char == "u":
            digits = text[index : index + 4]
            if not re.fullmatch(r"[0-9A-Fa-f]{4}", digits):
                raise UsageError(f"line {number}: malformed \\u escape; it needs four hexadecimal digits")
            units.append(chr(int(digits, 16)))
            index += 4
        else:
            units.append(_ESCAPES.get(char, char))
    # Java's chars are UTF-16 units: a pair of escapes is one character
    return "".join(units).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _escape(text: str, *, is_key: bool) -> str:
    out: list[str] = []
    for index, char in enumerate(text):
        if char in _REVERSE:
            out.append(_REVERSE[char])
        elif char == "\\" or (char == " " and (is_key or index == 0)) or (is_key and char in "=:#!"):
            out.append("\\" + char)
        elif " " <= char <= "~":
            out.append(char)
        else:
            encoded = char.encode("utf-16-be", "surrogatepass")
            out.extend(f"\\u{encoded[at] << 8 | encoded[at + 1]:04x}" for at in range(0, len(encoded), 2))
    return "".join(out)


def rendered(
    template: str,
    *,
    mode: Mode,
    roles: frozenset[Role] = frozenset({Role.BROKER}),
    node_id: int | None = None,
    rack: str | None = None,
    zookeeper_connect: str | None = None,
    overrides: Mapping[str, str | None] | None = None,
) -> str:
    """What server.properties should be: the template with the few keys that bubuku answers for.

    `node_id` None leaves the id to the template, else to Kafka (ZooKeeper mode). `zookeeper_connect` is the address
    with chroot. `overrides` come last; None deletes. Raises UsageError where the template cannot be parsed.
    """
    properties = parse(template)
    if mode is Mode.ZOOKEEPER:
        if zookeeper_connect is not None:
            properties.set("zookeeper.connect", zookeeper_connect)
        if node_id is not None:
            # Kafka refuses two different ids, and node.id is only another name of broker.id here
            properties.delete("node.id")
            properties.set("broker.id", str(node_id))
    else:
        properties.delete("zookeeper.connect")
        if node_id is not None:
            properties.delete("broker.id")
            properties.set("node.id", str(node_id))
    if rack is not None and Role.BROKER in roles:
        properties.set("broker.rack", rack)
    for key, value in (overrides or {}).items():
        if value is None:
            properties.delete(key)
        else:
            properties.set(key, value)
    return properties.render()


def node_id(properties: Properties) -> int | None:
    """The configured id: broker.id, else node.id; None where it is left to Kafka (absent or -1)."""
    for key in ("broker.id", "node.id"):
        value = properties.get(key)
        if value:
            number = _number(properties, key, -1)
            return None if number < 0 else number
    return None


def data_dirs(properties: Properties) -> tuple[str, ...]:
    """Where replicas are: log.dirs, else log.dir, else Kafka's default; in the file's order, each once."""
    value = properties.get("log.dirs") or properties.get("log.dir") or DEFAULT_LOG_DIR
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def log_dirs(properties: Properties, mode: Mode) -> tuple[str, ...]:
    """All folders that carry meta.properties: `data_dirs`, and in KRaft a metadata.log.dir of its own."""
    metadata = properties.get("metadata.log.dir") if mode is Mode.KRAFT else None
    return tuple(dict.fromkeys((*data_dirs(properties), metadata))) if metadata else data_dirs(properties)


@dataclass(frozen=True, slots=True)
class Listener:
    name: str
    host: str  # "" means every interface (listeners) or Kafka's own idea of its name (advertised)
    port: int

    @property
    def endpoint(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listeners(properties: Properties, key: str = "listeners") -> tuple[Listener, ...]:
    """Parse `listeners` (or another key of the same form). Raises UsageError naming the key and the part."""
    value = properties.get(key) or (DEFAULT_LISTENERS if key == "listeners" else "")
    found = []
    for part in value.split(","):
        if not part.strip():
            continue
        match = _LISTENER.match(part)
        if match is None:
            raise UsageError(f'{key}: "{part.strip()}" is not a listener; it looks like PLAINTEXT://host:9092')
        found.append(Listener(match[1], match[2].strip("[]"), int(match[3])))
    return tuple(found)


def controller_listener_names(properties: Properties) -> tuple[str, ...]:
    value = properties.get("controller.listener.names") or ""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def controller_listeners(properties: Properties) -> tuple[Listener, ...]:
    """Those of `listeners` that controllers talk over."""
    names = {name.upper() for name in controller_listener_names(properties)}
    return tuple(listener for listener in listeners(properties) if listener.name.upper() in names)


def advertised_endpoints(properties: Properties, host: str) -> tuple[str, ...]:
    """What the broker registers: "host:port", sorted. `host` stands in where the file names none."""
    names = {name.upper() for name in controller_listener_names(properties)}
    found = listeners(properties, "advertised.listeners") or listeners(properties)
    kept = (listener for listener in found if listener.name.upper() not in names)
    return tuple(sorted(Listener(each.name, each.host or host, each.port).endpoint for each in kept))


def process_roles(properties: Properties) -> frozenset[str]:
    """`process.roles`; empty in ZooKeeper mode."""
    value = properties.get("process.roles") or ""
    return frozenset(part.strip() for part in value.split(",") if part.strip())


def unclean_election(properties: Properties) -> bool:
    """unclean.leader.election.enable, false by default."""
    return (properties.get("unclean.leader.election.enable") or "false").lower() == "true"


def session_timeout_seconds(properties: Properties, mode: Mode) -> float:
    """How long the cluster takes to miss a dead broker by itself: 18 s (ZooKeeper) or 9 s (KRaft) by default."""
    if mode is Mode.ZOOKEEPER:
        return _number(properties, "zookeeper.session.timeout.ms", 18_000) / 1000
    return _number(properties, "broker.session.timeout.ms", 9_000) / 1000


def _number(properties: Properties, key: str, default: int) -> int:
    value = properties.get(key)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise UsageError(f'{key}: "{value}" is not a number') from None
