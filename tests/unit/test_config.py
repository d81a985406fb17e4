"""The configuration: YAML, the environment over it, one clear line a problem, and what it names on this host."""

from __future__ import annotations

import json
import math
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bubuku.cli.config import config as command
from bubuku.config import Config, check, check_addresses, load
from bubuku.config.environment import VARIABLES
from bubuku.core.errors import UsageError
from bubuku.core.model import Mode, Role

SMALL: dict[str, Any] = {
    "mode": "static",
    "kafka": {"dir": "/opt/kafka", "settings": "/etc/bubuku/template"},
    "zookeeper": {"addresses": "h1:2181,h2:2181"},
}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    def make(over: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Config:
        path = tmp_path / "bubuku.yaml"
        path.write_text(yaml.safe_dump(merged(SMALL, over or {})))
        return load(path, environ or {})

    return make


@pytest.fixture
def problems(loaded: Any, tmp_path: Path) -> Any:
    def make(over: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(UsageError) as raised:
            loaded(over, environ)
        return [line.removeprefix(f"{tmp_path}/") for line in str(raised.value).splitlines()]

    return make


def test_a_small_file_has_the_documented_defaults(loaded: Any) -> None:
    config = loaded()
    assert (config.node_id, config.rack, config.adopt_running, config.instant_failover) == (None, None, False, True)
    assert (config.state_dir, config.log_dir) == (Path("/var/lib/bubuku"), Path("/var/log/bubuku"))
    assert (config.api.host, config.api.port, config.api.health_port) == ("127.0.0.1", 8888, None)
    assert (config.kafka.mode, config.kafka.roles) == (Mode.ZOOKEEPER, (Role.BROKER,))
    assert config.zookeeper.addresses == ("h1:2181", "h2:2181")
    assert config.zookeeper.chroot == ""
    assert config.server_properties == Path("/var/lib/bubuku/server.properties")
    assert config.start_command == ("/opt/kafka/bin/kafka-server-start.sh", "/var/lib/bubuku/server.properties")
    assert config.kafka_log == config.kafka_stdout == Path("/var/log/bubuku/kafka-stdout.log")
    assert config.host
    assert config.warnings == ()


PROBLEMS: list[tuple[dict[str, Any], dict[str, str], list[str]]] = [
    ({"kafka": {"dri": "/x"}}, {}, ['bubuku.yaml: kafka.dri: unknown key; did you mean "dir"?']),
    ({"xyzzy": 1}, {}, ["bubuku.yaml: xyzzy: unknown key"]),
    (
        {"kafka": {"client": {"user": "u"}}},
        {},
        ['bubuku.yaml: kafka.client.user: unknown key; did you mean "username"?'],
    ),
    ({"node_id": "one"}, {}, ['bubuku.yaml: node_id: should be a whole number, not "one"']),
    ({"node_id": -1}, {}, ["bubuku.yaml: node_id: should be greater than or equal to 0, not -1"]),
    ({"kafka": "x"}, {}, ['bubuku.yaml: kafka: should be a mapping, not "x"']),
    ({"kafka": {"roles": []}}, {}, ["bubuku.yaml: kafka.roles: should not be empty"]),
    (
        {"kafka": {"roles": ["brokr"]}},
        {},
        ["bubuku.yaml: kafka.roles.0: should be 'broker' or 'controller', not \"brokr\""],
    ),
    ({"kafka": {"roles": ["controller"]}}, {}, ["bubuku.yaml: kafka: roles other than [broker] need mode: kraft"]),
    ({"adopt_running": "perhaps"}, {}, ['bubuku.yaml: adopt_running: should be true or false, not "perhaps"']),
    ({"api": {"port": 70000}}, {}, ["bubuku.yaml: api.port: should be less than or equal to 65535, not 70000"]),
    (
        {"api": {"port": 8888, "health_port": 8888}},
        {},
        ["bubuku.yaml: api: health_port and port are both 8888; they must differ"],
    ),
    (
        {"zookeeper": {"addresses": "h1:2181/kafka"}},
        {},
        ['bubuku.yaml: zookeeper.addresses: "h1:2181/kafka" has a path; the chroot goes into zookeeper.prefix'],
    ),
    ({"zookeeper": {"addresses": "h1:port"}}, {}, ['bubuku.yaml: zookeeper.addresses: "h1:port" is not host:port']),
    ({"zookeeper": {"addresses": ""}}, {}, ["bubuku.yaml: zookeeper.addresses: should name at least one host:port"]),
    ({"zookeeper": {"addresses": []}}, {}, ["bubuku.yaml: zookeeper.addresses: should name at least one host:port"]),
    (
        {"zookeeper": {"addresses_file": "/zk"}},
        {},
        ["bubuku.yaml: zookeeper.addresses: addresses_file is set too; leave one of the two out"],
    ),
    (
        {"zookeeper": {"addresses": None, "addresses_file": "/zk"}},
        {"ZOOKEEPER_STATIC_IPS_PORT": "10.0.0.1:2181"},
        ["ZOOKEEPER_STATIC_IPS_PORT: addresses_file is set too; leave one of the two out"],
    ),
    (
        {"zookeeper": {"addresses_settle_seconds": -1}},
        {},
        ["bubuku.yaml: zookeeper.addresses_settle_seconds: should be greater than or equal to 0, not -1"],
    ),
    (
        {"kafka": {"client": {"security_protocol": "SASL_SSL"}}},
        {},
        ["bubuku.yaml: kafka.client: sasl_mechanism is needed with SASL_SSL"],
    ),
    (
        {"kafka": {"client": {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "username": "u"}}},
        {},
        ["bubuku.yaml: kafka.client: SASL needs password_file, or BUBUKU_KAFKA_PASSWORD in the environment"],
    ),
    (
        {"zookeeper": {"auth": {"username": "u"}}},
        {},
        ["bubuku.yaml: zookeeper.auth: needs password_file, or BUBUKU_ZOOKEEPER_PASSWORD in the environment"],
    ),
    (
        {"kafka": {"client": {"password": "hunter2"}}},
        {},
        [
            "bubuku.yaml: kafka.client.password: a password does not belong here; use kafka.client.password_file or "
            "BUBUKU_KAFKA_PASSWORD in the environment"
        ],
    ),
    ({"mode": "amazon"}, {}, ["bubuku.yaml: mode: amazon is not available yet; set mode: static"]),
    ({}, {"BUBUKU_MODE": "Amazon"}, ["BUBUKU_MODE: mode: amazon is not available yet; set mode: static"]),
    ({}, {"BUBUKU_MODE": "gcp"}, ["BUBUKU_MODE: should be 'amazon' or 'static', not \"gcp\""]),
    ({}, {"HEALTH_PORT": "x"}, ['HEALTH_PORT: should be a whole number, not "x"']),
    (
        {},
        {"STARTUP_TIMEOUT_TYPE": "cubic"},
        ["STARTUP_TIMEOUT_TYPE: should be 'linear', 'progressive' or 'none', not \"cubic\""],
    ),
    (
        {},
        {"STARTUP_TIMEOUT": "type=linear:begin=3"},
        ['STARTUP_TIMEOUT: "begin=3" is not understood; it looks like type=linear:initial=300:step=60'],
    ),
    (
        {},
        {"ZOOKEEPER_STATIC_IPS_PORT": "10.0.0.1,10.0.0.2"},
        ['ZOOKEEPER_STATIC_IPS_PORT: should look like "10.0.0.1,10.0.0.2:2181": several addresses and one port'],
    ),
    (
        {"kafka": {"dri": 1}, "node_id": "x"},
        {"HEALTH_PORT": "0"},
        [
            'bubuku.yaml: node_id: should be a whole number, not "x"',
            'bubuku.yaml: kafka.dri: unknown key; did you mean "dir"?',
            'HEALTH_PORT: should be greater than or equal to 1, not "0"',
        ],
    ),
]


@pytest.mark.parametrize(("over", "environ", "lines"), PROBLEMS, ids=[str(n) for n in range(len(PROBLEMS))])
def test_each_problem_is_one_line_that_names_the_key(
    problems: Any, over: dict[str, Any], environ: dict[str, str], lines: list[str]
) -> None:
    assert problems(over, environ) == lines


def test_an_unknown_feature_is_named(problems: Any) -> None:
    (line,) = problems({}, {"BUKU_FEATURES": "graceful_terminate,fly"})
    assert line.startswith("BUKU_FEATURES: should be 'graceful_terminate', ")
    assert line.endswith('not "fly"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b\nc: d: e\n", "line 2: mapping values are not allowed here"),
        ("a: 1\nb: 2\na: 3\n", 'line 3: key "a" stands twice'),
        ("- a\n", "should be a mapping of settings"),
        ("x: !!python/object/apply:os.getcwd []\n", "line 1: could not determine a constructor"),
    ],
)
def test_what_is_not_yaml_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bubuku.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        load(path, {})
    assert str(raised.value).startswith(f"{path}: {words}")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: No such file or directory$"):
        load(tmp_path / "no.yaml", {})


def test_the_environment_alone_is_enough() -> None:
    """As the original was run, save that amazon mode is not there yet."""
    config = load(
        None,
        {
            "KAFKA_DIR": "/opt/kafka",
            "KAFKA_SETTINGS": "/opt/kafka/template",
            "ZOOKEEPER_STATIC_IPS_PORT": "10.0.0.1,10.0.0.2:2182",
            "ZOOKEEPER_PREFIX": "test",
            "ZOOKEEPER_STACK_NAME": "overridden-by-the-static-list",
            "BUBUKU_MODE": "local",
            "BUKU_FEATURES": "Graceful_Terminate, use_ip_address",
            "HEALTH_PORT": "8888",
            "STARTUP_TIMEOUT_TYPE": "progressive",
            "STARTUP_TIMEOUT_INITIAL": "120",
            "STARTUP_TIMEOUT_STEP": "0.25",
            "FREE_SPACE_DIFF_THRESHOLD_MB": "1000",
        },
    )
    assert config.kafka.dir == Path("/opt/kafka")
    assert config.zookeeper.addresses == ("10.0.0.1:2182", "10.0.0.2:2182")
    assert config.zookeeper.chroot == "/test"
    assert (config.api.host, config.api.port, config.api.health_port) == ("127.0.0.1", 8889, 8888)
    assert config.graceful_terminate
    assert config.startup_timeout.model_dump() == {"type": "progressive", "initial_seconds": 120.0, "step": 0.25}
    assert config.free_space_diff_threshold_mb == 1000
    assert [line.split(":")[0] for line in config.warnings] == ["BUKU_FEATURES", "api.port"]


def test_without_anything_each_missing_setting_is_named() -> None:
    with pytest.raises(UsageError) as raised:
        load(None, {})
    assert str(raised.value).splitlines() == [
        "environment: mode: amazon, the default, is not available yet; set mode: static (BUBUKU_MODE=static)",
        "environment: kafka.dir: is missing; set it, or KAFKA_DIR in the environment",
        "environment: kafka.settings: is missing; set it, or KAFKA_SETTINGS in the environment",
        "environment: zookeeper.addresses: is missing; set it, or ZOOKEEPER_STATIC_IPS_PORT in the environment",
    ]


def test_exhibitor_is_one_line() -> None:
    environ = {"KAFKA_DIR": "/k", "KAFKA_SETTINGS": "/t", "ZOOKEEPER_STACK_NAME": "zk", "BUBUKU_MODE": "static"}
    with pytest.raises(UsageError) as raised:
        load(None, environ)
    assert str(raised.value) == (
        "ZOOKEEPER_STACK_NAME: Exhibitor comes with amazon mode, which is not available yet; "
        "set ZOOKEEPER_STATIC_IPS_PORT"
    )


def test_the_environment_goes_over_the_file(loaded: Any) -> None:
    config = loaded(
        {"startup_timeout": {"step": 5}}, {"KAFKA_DIR": "/other", "STARTUP_TIMEOUT_INITIAL": "10", "HEALTH_PORT": ""}
    )
    assert config.kafka.dir == Path("/other")
    assert config.kafka.settings == Path("/etc/bubuku/template")
    assert (config.startup_timeout.initial_seconds, config.startup_timeout.step) == (10.0, 5.0)
    assert config.api.health_port is None


def test_the_file_is_found_by_its_variable(tmp_path: Path) -> None:
    path = tmp_path / "bubuku.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    assert load(None, {"BUBUKU_CONFIG": str(path)}).kafka.dir == Path("/opt/kafka")


def test_the_older_startup_timeout_is_understood(loaded: Any) -> None:
    timeout = loaded({}, {"STARTUP_TIMEOUT": "type=progressive:initial=200:scale=0.75"}).startup_timeout
    assert (timeout.type, timeout.initial_seconds, timeout.effective_step) == ("progressive", 200.0, 0.75)


@pytest.mark.parametrize(("prefix", "wanted"), [("", "/"), ("/", "/"), ("a/b", "/a/b"), ("/a/", "/a")])
def test_the_prefix_needs_no_slash(loaded: Any, prefix: str, wanted: str) -> None:
    assert loaded({}, {"ZOOKEEPER_PREFIX": prefix}).zookeeper.prefix == wanted
    assert loaded({"zookeeper": {"prefix": prefix}}).zookeeper.prefix == wanted


@pytest.mark.parametrize(
    ("addresses", "wanted"),
    [
        ("h1,h2:99", ("h1:2181", "h2:99")),
        (["h1:1", " h2 "], ("h1:1", "h2:2181")),
        ("[::1]:7, [::2]", ("[::1]:7", "[::2]:2181")),
    ],
)
def test_zookeeper_addresses(loaded: Any, addresses: Any, wanted: tuple[str, ...]) -> None:
    assert loaded({"zookeeper": {"addresses": addresses}}).zookeeper.addresses == wanted


def test_features_that_come_later_warn(loaded: Any) -> None:
    warnings = loaded({"features": ["balance_data_size", "restart_on_exhibitor", "restart_if_dead"]}).warnings
    assert len(warnings) == 3
    assert all("features: " in line for line in warnings)


def test_values_of_kafkas_environment_become_texts(loaded: Any) -> None:
    environment = {"JMX_PORT": 9999, "KAFKA_HEAP_OPTS": "-Xmx1G", "DEBUG": True}
    assert loaded({"kafka": {"environment": environment}}).kafka.environment == {
        "JMX_PORT": "9999",
        "KAFKA_HEAP_OPTS": "-Xmx1G",
        "DEBUG": "true",
    }


def sasl(**more: Any) -> dict[str, Any]:
    return {
        "kafka": {
            "client": {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "username": "u", **more},
            "environment": {"SECRET_TOKEN": "hunter3"},
        },
        "zookeeper": {"auth": {"username": "z", **more}},
    }


SECRETS = {"BUBUKU_KAFKA_PASSWORD": "hunter2 ", "BUBUKU_ZOOKEEPER_PASSWORD": "hunter4"}


def test_passwords_come_from_the_environment_and_are_never_shown(loaded: Any) -> None:
    config = loaded(sasl(), SECRETS)
    assert config.kafka.client.secret().get_secret_value() == "hunter2 "
    assert config.zookeeper.auth.secret().get_secret_value() == "hunter4"
    for shown in (repr(config), str(config), config.model_dump_json(exclude={"kafka": {"environment"}})):
        assert "hunter" not in shown


def test_passwords_come_from_files_as_they_stand(loaded: Any, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("old\n")
    config = loaded(sasl(password_file=str(path)))
    assert config.kafka.client.secret().get_secret_value() == "old"
    path.write_text("new")
    assert config.kafka.client.secret().get_secret_value() == "new"
    path.unlink()
    with pytest.raises(UsageError, match=r"password: No such file or directory$"):
        config.kafka.client.secret()


def test_a_zookeeper_password_alone_asks_for_no_authentication(loaded: Any) -> None:
    assert loaded({}, SECRETS).zookeeper.auth is None


def test_a_secret_in_the_wrong_place_is_not_shown(problems: Any) -> None:
    wrong = {"kafka": {"client": {"passwrd": "hunter2"}, "environment": {"A": ["hunter2"]}}}
    lines = problems(wrong)
    assert len(lines) == 2
    assert not any("hunter2" in line for line in lines)


# what it names on this host


class Host:
    """A Kafka home, a template and the folders, as a valid configuration names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "kafka"
        self.script = self.home / "bin" / "kafka-server-start.sh"
        self.script.parent.mkdir(parents=True)
        self.script.write_text("#!/bin/sh\n")
        self.script.chmod(0o755)
        self.template = folder / "server.properties"
        self.write_template("zookeeper.connect=x")
        self.over: dict[str, Any] = {}

    def write_template(self, *lines: str) -> None:
        self.template.write_text("\n".join([f"log.dirs={self.folder}/data/1,{self.folder}/data/2", *lines]))

    def document(self) -> dict[str, Any]:
        base = {
            "mode": "static",
            "state_dir": str(self.folder / "state"),
            "log_dir": str(self.folder / "log"),
            "kafka": {"dir": str(self.home), "settings": str(self.template)},
            "zookeeper": {"addresses": "h:2181"},
        }
        return merged(base, self.over)

    def config_file(self) -> Path:
        path = self.folder / "bubuku.yaml"
        path.write_text(yaml.safe_dump(self.document()))
        return path

    def problems(self) -> list[str]:
        return [line.replace(f"{self.folder}/", "") for line in check(load(self.config_file(), {}))]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_good_host_has_no_problems_and_nothing_was_created(host: Host) -> None:
    host.config_file()
    before = sorted(host.folder.rglob("*"))
    assert host.problems() == []
    assert sorted(host.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ["zookeeper.addresses_file: zk: No such file or directory"]),
        ("# none yet\n", ["zookeeper.addresses_file: zk: should name at least one host:port"]),
        ("h1:2181\nh2:zk\n", ['zookeeper.addresses_file: zk: "h2:zk" is not host:port']),
        ("h1:2181\n", []),
    ],
)
def test_the_file_of_zookeepers_addresses(host: Host, content: str | None, said: list[str]) -> None:
    """The daemon does without it where it knows what it last said."""
    host.over = {"zookeeper": {"addresses": None, "addresses_file": f"{host.folder}/zk"}}
    if content is not None:
        (host.folder / "zk").write_text(content)
    assert host.problems() == []
    config = load(host.config_file(), {})
    assert [line.replace(f"{host.folder}/", "") for line in check_addresses(config)] == said
    result = CliRunner().invoke(command, ["check", str(host.config_file())])
    assert result.exit_code == (2 if said else 0)


def test_no_kafka_home(host: Host) -> None:
    host.over = {"kafka": {"dir": f"{host.folder}/nowhere"}}
    assert host.problems() == ["kafka.dir: nowhere: no such directory"]
    host.over = {"kafka": {"dir": str(host.template)}}
    assert host.problems() == ["kafka.dir: server.properties: not a directory"]


def test_no_start_script(host: Host) -> None:
    host.script.chmod(0o644)
    assert host.problems() == ["kafka.dir: kafka/bin/kafka-server-start.sh: not executable; chmod +x it"]
    host.script.unlink()
    assert host.problems() == ["kafka.dir: kafka/bin/kafka-server-start.sh: no such program"]
    host.over = {"kafka": {"start_command": ["sh", "-c", "exec java"]}}
    assert host.problems() == []
    host.over = {"kafka": {"start_command": ["no-such-program-here"]}}
    assert host.problems() == ["kafka.start_command: no-such-program-here: no such program"]


def test_no_template(host: Host) -> None:
    host.template.unlink()
    assert host.problems() == ["kafka.settings: server.properties: No such file or directory"]
    host.template.mkdir()
    assert host.problems() == ["kafka.settings: server.properties: Is a directory"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a=\\u12", "line 2: malformed \\u escape; it needs four hexadecimal digits"),
        ("listeners=9092", 'listeners: "9092" is not a listener; it looks like PLAINTEXT://host:9092'),
        ("broker.id=x", 'broker.id: "x" is not a number'),
        ("zookeeper.session.timeout.ms=6s", 'zookeeper.session.timeout.ms: "6s" is not a number'),
        ("process.roles=broker", "process.roles is set: this is KRaft, but kafka.mode is zookeeper"),
        ("broker.id=3", "the id is 3 here, but node_id is 1"),
    ],
)
def test_a_template_that_cannot_be_right(host: Host, line: str, problem: str) -> None:
    host.over = {"node_id": 1}
    host.write_template(line)
    if line.startswith("broker.id=x"):
        host.over = {}
    assert host.problems() == [f"kafka.settings: server.properties: {problem}"]


KRAFT = (
    "process.roles=broker,controller",
    "node.id=1",
    "controller.listener.names=C",
    "listeners=PLAINTEXT://:1,C://:2",
)


@pytest.mark.parametrize(
    ("without", "with_", "problem"),
    [
        (None, None, None),
        ("process.roles", None, "process.roles is missing; kafka.roles says broker,controller"),
        ("process.roles", "process.roles=broker", "process.roles is broker, but kafka.roles is broker,controller"),
        ("node.id", None, "neither node.id here nor node_id is set; KRaft needs it"),
        ("controller.listener.names", None, "controller.listener.names is missing; KRaft needs it"),
        ("listeners", "listeners=PLAINTEXT://:1", "no listener of controller.listener.names is in listeners"),
    ],
)
def test_a_kraft_template(host: Host, without: str | None, with_: str | None, problem: str | None) -> None:
    host.over = {"kafka": {"mode": "kraft", "roles": ["broker", "controller"]}}
    lines = [line for line in KRAFT if without is None or not line.startswith(without)]
    host.write_template(*lines, *([] if with_ is None else [with_]))
    assert host.problems() == ([] if problem is None else [f"kafka.settings: server.properties: {problem}"])


def test_folders_that_cannot_be_written(host: Host) -> None:
    (host.folder / "log").write_text("a file")
    (host.folder / "data").write_text("a file")
    host.over = {"state_dir": str(host.folder / "log" / "state")}
    assert host.problems() == [
        "kafka.settings: server.properties: none of the log dirs data/1, data/2 is there or can be created",
        "state_dir: log/state: cannot be created: log is not a directory",
        "log_dir: log: not a directory",
    ]


def test_one_lost_log_dir_of_two_is_the_brokers_business(host: Host) -> None:
    (host.folder / "file").write_text("")
    host.template.write_text(f"log.dirs={host.folder}/file/lost,{host.folder}/good")
    assert host.problems() == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can look into; tmp_path is ours alone."""
    with tempfile.TemporaryDirectory(prefix="bubuku-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(call: Callable[[], list[str]]) -> list[str]:
    """What `call` returns in a child process without root's rights."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setuid(pwd.getpwnam("nobody").pw_uid)
            os.write(writing, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    found: list[str] = json.loads(text)
    return found


def test_what_another_user_may_not_write_or_read(open_folder: Path) -> None:
    host = Host(open_folder)
    (open_folder / "data" / "1").mkdir(parents=True)
    (open_folder / "password").write_text("x")
    host.over = {"zookeeper": {"auth": {"username": "u", "password_file": str(open_folder / "password")}}}
    config = load(host.config_file(), {})
    for path, mode in (("data/1", 0o555), ("data", 0o555), ("password", 0o000), (".", 0o555)):
        (open_folder / path).chmod(mode)
    problems = as_nobody(lambda: check(config))
    open_folder.chmod(0o755)
    assert [line.replace(str(open_folder), "") for line in problems] == [
        "kafka.settings: /server.properties: log dir /data/1: not writable",
        "state_dir: /state: cannot be created:  is not writable",
        "log_dir: /log: cannot be created:  is not writable",
        "zookeeper.auth.password_file: /password: Permission denied",
    ]


def test_credentials_that_are_not_there(host: Host) -> None:
    (host.folder / "empty").write_text("\n")
    host.over = {
        "kafka": {"client": {"security_protocol": "SSL", "ssl_cafile": f"{host.folder}/ca.pem"}},
        "zookeeper": {
            "auth": {"username": "u", "password_file": f"{host.folder}/empty"},
            "tls": {"cafile": f"{host.folder}/zk.pem"},
        },
    }
    assert host.problems() == [
        "kafka.client.ssl_cafile: ca.pem: No such file or directory",
        "zookeeper.tls.cafile: zk.pem: No such file or directory",
        "zookeeper.auth.password_file: empty: empty",
    ]


# what decisions read


def test_the_policy_of_a_broker(host: Host) -> None:
    host.over = {
        "host": "me",
        "startup_timeout": {"type": "progressive"},
        "kafka": {"jolokia_url": "http://127.0.0.1:1"},
    }
    host.write_template("broker.id=0", "listeners=PLAINTEXT://:9092,SSL://b:9093", "zookeeper.session.timeout.ms=6000")
    policy = load(host.config_file(), {}).policy(accept_empty=True)
    assert (policy.mode, policy.roles, policy.node_id) == (Mode.ZOOKEEPER, frozenset({Role.BROKER}), 0)
    assert policy.endpoints == ("b:9093", "me:9092")
    assert (policy.session_timeout, policy.unclean_election, policy.jmx, policy.accept_empty) == (
        6.0,
        False,
        True,
        True,
    )
    assert (policy.startup_timeout, policy.startup_step, policy.startup_progressive) == (300.0, 0.5, True)


def test_the_policy_of_a_dedicated_controller(host: Host) -> None:
    host.over = {"node_id": 7, "kafka": {"mode": "kraft", "roles": ["controller"]}, "startup_timeout": {"type": "none"}}
    host.write_template("process.roles=controller", "controller.listener.names=C", "listeners=C://:2")
    policy = load(host.config_file(), {}).policy()
    assert (policy.node_id, policy.endpoints, policy.session_timeout) == (7, (), 9.0)
    assert policy.startup_timeout == math.inf


# the command line


def test_config_check(host: Host) -> None:
    good = CliRunner().invoke(command, ["check", str(host.config_file())])
    assert (good.exit_code, good.stdout, good.stderr) == (0, "OK\n", "")
    host.over = {"features": ["rebalance_on_start"]}
    host.template.unlink()
    bad = CliRunner().invoke(command, ["check", str(host.config_file())])
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert [line.split(":")[0] for line in bad.stderr.splitlines()] == ["warning", "kafka.settings"]
    wrong = CliRunner().invoke(command, ["check", f"{host.folder}/no.yaml"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr == f"{host.folder}/no.yaml: No such file or directory\n"


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_config_show_masks_secrets(host: Host, output: str) -> None:
    host.over = sasl()
    shown = CliRunner(env=SECRETS).invoke(command, ["show", str(host.config_file()), "-o", output])
    assert shown.exit_code == 0, shown.stderr
    document = yaml.safe_load(shown.stdout) if output == "yaml" else json.loads(shown.stdout)
    assert document["kafka"]["client"]["password"] == document["zookeeper"]["auth"]["password"] == "********"
    assert document["kafka"]["environment"] == {"SECRET_TOKEN": "********"}
    assert document["api"]["port"] == 8888
    assert "hunter" not in shown.stdout
    broken = CliRunner().invoke(command, ["show", str(host.folder)])
    assert (broken.exit_code, broken.stdout) == (2, "")


def test_each_setting_is_documented_and_each_variable_sets_one() -> None:
    def fields(model: type[Any], before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str | None]]:
        for name, info in model.model_fields.items():
            nested = [
                each
                for each in (info.annotation, *getattr(info.annotation, "__args__", ()))
                if hasattr(each, "model_fields")
            ]
            yield (*before, name), info.description or ("a section" if nested else None)
            for each in nested:
                yield from fields(each, (*before, name))

    known = dict(fields(Config))
    assert [".".join(key) for key, description in known.items() if not description] == []
    assert [variable.name for variable in VARIABLES if variable.key not in known] == []
