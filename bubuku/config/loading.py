"""From a YAML file and the environment to a Config, or to one clear line a problem.

Callers: the daemon and the command line, at start-up; it reads one file and nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bubuku.config.environment import CONFIG_VARIABLE, VARIABLES, Key, Overrides, overrides
from bubuku.config.model import Config, Feature
from bubuku.core.errors import UsageError

IDLE_FEATURES = {
    Feature.USE_IP_ADDRESS: "comes with amazon mode; until then set advertised.listeners in the template",
    Feature.RESTART_ON_EXHIBITOR: "comes with amazon mode; it has no effect yet",
    Feature.REBALANCE_ON_START: "comes with rebalancing; it has no effect yet",
    Feature.REBALANCE_ON_BROKERS_CHANGE: "comes with rebalancing; it has no effect yet",
    Feature.BALANCE_DATA_SIZE: "comes with rebalancing; it has no effect yet",
    Feature.RESTART_IF_DEAD: "is always on; it can be left out",
}
_VARIABLE_OF = {variable.key: variable.name for variable in VARIABLES}
_SECRETS = tuple(variable.key for variable in VARIABLES if variable.secret)
_WORDS = {
    "missing": "is missing",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "path_type": "should be a path",
    "tuple_type": "should be a list",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
}


_EXHIBITOR = (
    "ZOOKEEPER_STACK_NAME: Exhibitor comes with amazon mode, which is not available yet; set ZOOKEEPER_STATIC_IPS_PORT"
)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML would settle silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f'key "{key}" stands twice', key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The effective configuration: the YAML at `path`, else at $BUBUKU_CONFIG, else none; the environment over it.

    Raises UsageError with one line a problem, each naming the file and key, or the variable.
    """
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    source = "environment" if path is None else str(path)
    raw: dict[str, Any] = {} if path is None else _read(path)
    over = overrides(environ)
    problems = [*over.problems, *_secrets_in(raw, source)]
    _merge(raw, over)
    if environ.get("ZOOKEEPER_STACK_NAME") and not any(
        _at(raw, ("zookeeper", name)) for name in ("addresses", "addresses_file")
    ):
        problems.append(_EXHIBITOR)
    if raw.get("mode", "amazon") == "amazon":
        problems.append(_amazon(source, over, raw))
    config: Config | None = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False)
        named = {problem.split(":")[0] for problem in problems}
        problems.extend(_line(each, source, over, raw) for each in details if not _follows(each, details, named))
    if problems or config is None:
        raise UsageError("\n".join(problems))
    warnings = [f"{_name(('features',), source, over)}: {each}: {text}" for each, text in _idle(config)]
    update: dict[str, Any] = {}
    if Feature.GRACEFUL_TERMINATE in config.features:
        update["graceful_terminate"] = True
    if config.api.health_port is not None and "port" not in (raw.get("api") or {}) and config.api.port != 8888:
        warnings.append(f"api.port: is {config.api.port}, for the health port is {config.api.health_port}")
    final = config.model_copy(update=update)
    final._warnings = (*over.warnings, *warnings)
    return final


def _read(path: Path) -> dict[str, Any]:
    try:
        # SafeLoader's child: no arbitrary objects
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}: line {mark.line + 1}" if mark is not None else str(path)
        raise UsageError(f"{where}: {error.problem or 'not YAML'}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path}: should be a mapping of settings")
    return data


def _secrets_in(raw: Mapping[str, Any], source: str) -> list[str]:
    """Passwords that stand in the YAML; they are taken out, so that nothing later shows them."""
    problems = []
    for key in _SECRETS:
        section: Any = raw
        for part in key[:-1]:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and section.pop(key[-1], None) is not None:
            problems.append(
                f"{source}: {'.'.join(key)}: a password does not belong here; "
                f"use {'.'.join(key[:-1])}.password_file or {_VARIABLE_OF[key]} in the environment"
            )
            section.setdefault("password_file", "")  # one problem is enough
    return problems


def _merge(raw: dict[str, Any], over: Overrides) -> None:
    for required in ("kafka", "zookeeper"):
        if raw.get(required) is None:
            raw[required] = {}  # so that each missing key in it has its own line
    for key, value in over.values.items():
        section: Any = raw
        if key in _SECRETS and _at(raw, key[:-1]) is None and key[0] == "zookeeper":
            continue  # a password alone does not ask for authentication
        for part in key[:-1]:
            if section.get(part) is None:
                section[part] = {}
            section = section[part]
            if not isinstance(section, dict):
                break  # the model says what is wrong with it
        else:
            section[key[-1]] = value


def _at(raw: Any, key: Key) -> Any:
    for part in key:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _name(key: Key, source: str, over: Overrides) -> str:
    """How an operator knows a key: the variable that set it, else file and key."""
    if key in over.origins:
        return over.origins[key]
    return f"{source}: {'.'.join(key)}" if key else source


def _line(detail: ErrorDetails, source: str, over: Overrides, raw: Any) -> str:
    loc = tuple(str(part) for part in detail["loc"])
    key = next((loc[:size] for size in range(len(loc), 0, -1) if loc[:size] in over.origins), loc)
    name = _name(key, source, over)
    kind = detail["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(loc[-1], _known(loc[:-1]), n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f"{name}: unknown key{hint}"
    if kind == "missing":
        variable = _VARIABLE_OF.get(loc)
        return f"{name}: is missing; set it" + (f", or {variable} in the environment" if variable else "")
    if kind == "value_error":
        return f"{name}: {detail['ctx']['error']!s}"
    text = _WORDS.get(kind)
    if text is None:
        text = detail["msg"].removeprefix("Input ")
        text = text[0].lower() + text[1:]
    return f"{name}: {text}{_shown(loc, raw)}"


def _shown(loc: Key, raw: Any) -> str:
    """The offending value, where it is short and cannot be a secret."""
    value: Any = raw
    for part in loc:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return ""
    if "password" in loc[-1] or "environment" in loc or not isinstance(value, str | int | float):
        return ""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return f", not {text}" if len(text) <= 60 else ""


def _known(key: Key) -> list[str]:
    """The keys of the section at `key`."""
    model: type[BaseModel] | None = Config
    for part in key:
        annotation = model.model_fields[part].annotation if model and part in model.model_fields else None
        options = (annotation, *get_args(annotation))
        model = next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), None)
    return [name for name in model.model_fields if name != "password"] if model else []


def _follows(detail: ErrorDetails, details: list[ErrorDetails], named: set[str]) -> bool:
    """Whether another line says it already: about an item of this list, or about the variable that was refused."""
    loc = detail["loc"]
    if detail["type"] == "too_short" and any(each["loc"][: len(loc)] == loc and each is not detail for each in details):
        return True
    if detail["type"] != "missing":
        return False
    variable = _VARIABLE_OF.get(tuple(str(part) for part in loc))
    return variable in named or (variable == "ZOOKEEPER_STATIC_IPS_PORT" and "ZOOKEEPER_STACK_NAME" in named)


def _amazon(source: str, over: Overrides, raw: Mapping[str, Any]) -> str:
    chosen = "mode: amazon" if "mode" in raw else "mode: amazon, the default,"
    name = over.origins.get(("mode",))
    return f"{name if name else source}: {chosen} is not available yet; set mode: static" + (
        "" if source != "environment" else " (BUBUKU_MODE=static)"
    )


def _idle(config: Config) -> list[tuple[str, str]]:
    return [(str(feature), IDLE_FEATURES[feature]) for feature in config.features if feature in IDLE_FEATURES]
