"""The environment over the YAML: the original Bubuku's names with their meaning, and three of our own. Pure.

Caller: `bubuku.config.load`. Each row says which key a variable sets and how its text is read. Texts that stay texts
are validated by the model, which then names the variable instead of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, ...]
CONFIG_VARIABLE = "BUBUKU_CONFIG"


@dataclass
class Overrides:
    """What the environment sets: key → value, and which variable it came from."""

    values: dict[Key, Any] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def put(self, name: str, key: Key, value: Any) -> None:
        self.values[key] = value
        self.origins[key] = name


def _text(value: str) -> Any:
    return value


def _mode(value: str) -> Any:
    # the original's "local" is all that it had beside Amazon
    lowered = value.lower()
    return "static" if lowered == "local" else lowered


def _features(value: str) -> Any:
    return [part.strip() for part in value.lower().split(",") if part.strip()]


def _static_ips_port(value: str) -> Any:
    """ "ip1,ip2:port": one port for all. Addresses with ports of their own are taken as they are."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    _, colon, port = parts[-1].rpartition(":") if parts else ("", "", "")
    if not colon:
        raise ValueError('should look like "10.0.0.1,10.0.0.2:2181": several addresses and one port')
    return [part if ":" in part else f"{part}:{port}" for part in parts]


@dataclass(frozen=True)
class Variable:
    name: str
    key: Key
    description: str
    read: Callable[[str], Any] = _text
    secret: bool = False


VARIABLES: tuple[Variable, ...] = (
    Variable("KAFKA_DIR", ("kafka", "dir"), "Kafka's home."),
    Variable("KAFKA_SETTINGS", ("kafka", "settings"), "Template of server.properties."),
    Variable(
        "ZOOKEEPER_STATIC_IPS_PORT",
        ("zookeeper", "addresses"),
        'Several addresses and one port: "10.0.0.1,10.0.0.2:2181".',
        _static_ips_port,
    ),
    Variable("ZOOKEEPER_PREFIX", ("zookeeper", "prefix"), "Kafka's chroot; the leading slash may be left out."),
    Variable("BUBUKU_MODE", ("mode",), "`amazon` (default) or `static`; the original's `local` is static.", _mode),
    Variable("BUKU_FEATURES", ("features",), "Comma-separated list, see `features`.", _features),
    Variable("HEALTH_PORT", ("api", "health_port"), "Read-only health on all interfaces."),
    Variable("STARTUP_TIMEOUT_TYPE", ("startup_timeout", "type"), "`linear`, `progressive` or `none`."),
    Variable("STARTUP_TIMEOUT_INITIAL", ("startup_timeout", "initial_seconds"), "Seconds."),
    Variable("STARTUP_TIMEOUT_STEP", ("startup_timeout", "step"), "Seconds (linear) or a factor (progressive)."),
    Variable("FREE_SPACE_DIFF_THRESHOLD_MB", ("free_space_diff_threshold_mb",), "For balance_data_size, in MB."),
    Variable("BUBUKU_KAFKA_PASSWORD", ("kafka", "client", "password"), "Of bubuku's Kafka client.", secret=True),
    Variable(
        "BUBUKU_ZOOKEEPER_PASSWORD", ("zookeeper", "auth", "password"), "Of bubuku's ZooKeeper client.", secret=True
    ),
)
OTHERS: Mapping[str, str] = {
    CONFIG_VARIABLE: "Path of the YAML file.",
    "STARTUP_TIMEOUT": 'The older form of the three above: "type=linear:initial=300:step=60".',
    "ZOOKEEPER_STACK_NAME": "Exhibitor's load balancer; comes with amazon mode, and is one clear error until then.",
    "BROKER_ID_POLICY": "has no effect any more: the node id comes from meta.properties, else from `node_id`.",
}
_OLD_TIMEOUT = {"type": "type", "initial": "initial_seconds", "step": "step", "scale": "step"}


def overrides(environ: Mapping[str, str]) -> Overrides:
    """What `environ` sets. An empty variable counts as absent, save for ZOOKEEPER_PREFIX, where it means the root."""
    found = Overrides()
    _old_timeout(environ.get("STARTUP_TIMEOUT", ""), found)
    for variable in VARIABLES:
        value = environ.get(variable.name)
        if value is None or (not value.strip() and variable.name != "ZOOKEEPER_PREFIX"):
            continue
        try:
            found.put(variable.name, variable.key, variable.read(value if variable.secret else value.strip()))
        except ValueError as error:
            found.problems.append(f"{variable.name}: {error}")
    if environ.get("BROKER_ID_POLICY"):
        found.warnings.append(f"BROKER_ID_POLICY: {OTHERS['BROKER_ID_POLICY']}")
    return found


def _old_timeout(text: str, found: Overrides) -> None:
    for part in (each for each in text.split(":") if each.strip()):
        name, equals, value = part.partition("=")
        key = _OLD_TIMEOUT.get(name.strip())
        if not equals or key is None:
            found.problems.append(
                f'STARTUP_TIMEOUT: "{part.strip()}" is not understood; it looks like type=linear:initial=300:step=60'
            )
        else:
            found.put("STARTUP_TIMEOUT", ("startup_timeout", key), value.strip())
