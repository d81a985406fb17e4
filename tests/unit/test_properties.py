"""Java's .properties, and what bubuku makes of a server.properties template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubuku.core import properties
from bubuku.core.errors import UsageError
from bubuku.core.model import Mode, Role

# what java.util.Properties.load makes of each text (run with Java 17)
JAVA = [
    ("a=b", {"a": "b"}),
    ("a:b", {"a": "b"}),
    ("a b", {"a": "b"}),
    ("  a  =  b  ", {"a": "b  "}),
    ("a = = b", {"a": "= b"}),
    ("a", {"a": ""}),
    ("a=", {"a": ""}),
    ("=b", {"": "b"}),
    ("a\\ b=c", {"a b": "c"}),
    ("a\\=b=c", {"a=b": "c"}),
    ("# c=d\n! e=f\n\n  # g\na=1", {"a": "1"}),
    ("# no continuation \\\na=1", {"a": "1"}),
    ("a=1,\\\n   2,\\\r\n\t3", {"a": "1,2,3"}),
    ("a=1\\\n# b\nc=2", {"a": "1# b", "c": "2"}),
    ("a=1\\\n\nb=2", {"a": "1", "b": "2"}),
    ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
    ("a=1\\", {"a": "1"}),
    ("a=\\u00e9\\t\\x", {"a": "é\tx"}),
    ("a=\\ud83d\\ude00", {"a": "\U0001f600"}),
    ("a=1\na=2", {"a": "2"}),
    ("a=1\rb=2", {"a": "1", "b": "2"}),
    ("log.dirs=C:\\\\data", {"log.dirs": "C:\\data"}),
]


@pytest.mark.parametrize(("text", "wanted"), JAVA, ids=[repr(text) for text, _ in JAVA])
def test_a_text_means_what_it_means_to_java(text: str, wanted: dict[str, str]) -> None:
    parsed = properties.parse(text)
    assert parsed.as_dict() == wanted
    assert parsed.render() == text


def test_a_malformed_escape_is_named_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"line 3: malformed \\u escape"):
        properties.parse("a=1\n# \\uXY is fine here\nb=\\u12G4\n")


@given(st.text())
def test_a_text_that_is_not_changed_stays_as_it_is(text: str) -> None:
    try:
        parsed = properties.parse(text)
    except UsageError:
        return
    assert parsed.render() == text


values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.text(st.sampled_from("a=b:#!\\ \n\t\r\fu01é")), st.lists(st.tuples(values, values), max_size=5))
def test_what_is_set_is_read_back(template: str, pairs: list[tuple[str, str]]) -> None:
    try:
        parsed = properties.parse(template)
    except UsageError:
        return
    wanted = parsed.as_dict()
    for key, value in pairs:
        parsed.set(key, value)
        wanted[key] = value
    text = parsed.render()
    assert properties.parse(text).as_dict() == wanted == parsed.as_dict()
    assert properties.parse(text.encode(properties.ENCODING).decode(properties.ENCODING)).as_dict() == wanted


@given(st.dictionaries(values, values, min_size=1, max_size=6), st.data())
def test_what_is_deleted_is_gone_and_nothing_else(pairs: dict[str, str], data: st.DataObject) -> None:
    parsed = properties.parse("")
    for key, value in pairs.items():
        parsed.set(key, value)
    victim = data.draw(st.sampled_from(sorted(pairs)))
    parsed.delete(victim)
    assert properties.parse(parsed.render()).as_dict() == {key: value for key, value in pairs.items() if key != victim}


TEMPLATE = """\
# our brokers
broker.id=-1
zookeeper.connect = old:2181

log.dirs=/data/1,\\
         /data/2
broker.id=0
listeners=PLAINTEXT://:9092"""


def test_zookeeper_mode_changes_three_keys_in_place() -> None:
    text = properties.rendered(
        TEMPLATE, mode=Mode.ZOOKEEPER, node_id=7, rack="a", zookeeper_connect="h1:2181,h2:2181/kafka"
    )
    assert text == (
        "# our brokers\nbroker.id=7\nzookeeper.connect=h1:2181,h2:2181/kafka\n\n"
        "log.dirs=/data/1,\\\n         /data/2\nlisteners=PLAINTEXT://:9092\nbroker.rack=a\n"
    )
    assert properties.rendered(text, mode=Mode.ZOOKEEPER, node_id=7, rack="a") == text


def test_an_unknown_id_is_left_to_the_template_and_to_kafka() -> None:
    assert "broker.id=-1\n" in properties.rendered(TEMPLATE, mode=Mode.ZOOKEEPER, zookeeper_connect="h:1")


def test_kraft_has_a_node_id_and_no_zookeeper() -> None:
    text = properties.rendered(TEMPLATE, mode=Mode.KRAFT, node_id=7, rack="a", zookeeper_connect="h:1")
    parsed = properties.parse(text)
    assert parsed.get("node.id") == "7"
    assert parsed.get("broker.id") is None
    assert parsed.get("zookeeper.connect") is None
    assert parsed.get("broker.rack") == "a"


def test_a_controller_has_no_rack() -> None:
    roles = frozenset({Role.CONTROLLER})
    assert "broker.rack" not in properties.rendered("", mode=Mode.KRAFT, roles=roles, node_id=1, rack="a")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None),
        ("broker.id=0", 0),
        ("broker.id=-1", None),
        ("broker.id=", None),
        ("node.id=3", 3),
        ("node.id=3\nbroker.id=3", 3),
    ],
)
def test_the_configured_id(text: str, wanted: int | None) -> None:
    assert properties.node_id(properties.parse(text)) == wanted


def test_an_id_that_is_no_number_is_named() -> None:
    with pytest.raises(UsageError, match=r'broker\.id: "one" is not a number'):
        properties.node_id(properties.parse("broker.id=one"))


@pytest.mark.parametrize(
    ("text", "mode", "wanted"),
    [
        ("", Mode.ZOOKEEPER, ("/tmp/kafka-logs",)),
        ("log.dir=/a", Mode.ZOOKEEPER, ("/a",)),
        ("log.dir=/a\nlog.dirs= /b , /c,/b,", Mode.ZOOKEEPER, ("/b", "/c")),
        ("log.dirs=/b\nmetadata.log.dir=/m", Mode.ZOOKEEPER, ("/b",)),
        ("log.dirs=/b\nmetadata.log.dir=/m", Mode.KRAFT, ("/b", "/m")),
        ("log.dirs=/b\nmetadata.log.dir=/b", Mode.KRAFT, ("/b",)),
    ],
)
def test_log_dirs(text: str, mode: Mode, wanted: tuple[str, ...]) -> None:
    assert properties.log_dirs(properties.parse(text), mode) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ("me:9092",)),
        ("listeners=PLAINTEXT://:9092", ("me:9092",)),
        ("listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=A://b:2,PLAINTEXT://a:1", ("a:1", "b:2")),
        ("listeners=SSL://[::1]:9093", ("[::1]:9093",)),
        (
            "listeners=PLAINTEXT://a:1,CONTROLLER://a:2\ncontroller.listener.names=CONTROLLER",
            ("a:1",),
        ),
    ],
)
def test_the_endpoints_that_the_broker_registers(text: str, wanted: tuple[str, ...]) -> None:
    assert properties.advertised_endpoints(properties.parse(text), "me") == wanted


def test_controller_listeners() -> None:
    text = "listeners=PLAINTEXT://a:1,CONTROLLER://:2\ncontroller.listener.names=controller"
    assert properties.controller_listeners(properties.parse(text)) == (properties.Listener("CONTROLLER", "", 2),)


def test_a_listener_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match='listeners: "localhost:9092" is not a listener'):
        properties.listeners(properties.parse("listeners=localhost:9092"))


def test_session_timeouts_and_unclean_election() -> None:
    empty = properties.parse("")
    assert properties.session_timeout_seconds(empty, Mode.ZOOKEEPER) == 18.0
    assert properties.session_timeout_seconds(empty, Mode.KRAFT) == 9.0
    assert not properties.unclean_election(empty)
    told = properties.parse(
        "zookeeper.session.timeout.ms=6000\nbroker.session.timeout.ms=3000\nunclean.leader.election.enable=TRUE"
    )
    assert properties.session_timeout_seconds(told, Mode.ZOOKEEPER) == 6.0
    assert properties.session_timeout_seconds(told, Mode.KRAFT) == 3.0
    assert properties.unclean_election(told)


def test_a_key_can_follow_a_dangling_backslash() -> None:
    for text in ("a=1\\", "a=1\\\n", "a=1\\\r\n", "\\\n", "# c\\"):
        parsed = properties.parse(text)
        before = parsed.as_dict()
        parsed.set("b", "2")
        assert properties.parse(parsed.render()).as_dict() == {**before, "b": "2"}, repr(text)
