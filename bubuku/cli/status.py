"""`bubuku-cli status` and `bubuku-cli cluster show`: what any one daemon knows of the whole cluster.

Caller: click, on the main thread. The data is `/v1/cluster` of the first daemon that answers (`cli.source`).
"""

from __future__ import annotations

import time
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bubuku.cli import change_table, source
from bubuku.cli import output as out
from bubuku.core.pending import sentence as pending_restart

COLOURS = {
    "serving": "green",
    "starting": "yellow",
    "recovering": "yellow",
    "stopping": "yellow",
    "unregistered": "red",
    "frozen": "red",
    "failed": "red",
    "held": "red",
    "not_running": "red",
    "missing": "red",
}
STALE_SECONDS = 60.0
AGED_SECONDS = 5.0  # from here on the age of what Kafka said is shown
CLUSTER = "/v1/cluster"
VOLATILE = frozenset({"at_epoch", "age_seconds", "asked", "answered_by", "disk_used_bytes"})

api_option = click.option(
    "--api",
    envvar=source.API_VARIABLE,
    metavar="URL",
    help="A daemon's API. Default: $BUBUKU_API, the one in $BUBUKU_CONFIG, a running sandbox, http://127.0.0.1:8888.",
)


@click.command()
@api_option
@out.output_option
@click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes, until Ctrl-C.")
def status(api: str | None, output: str, watch: bool) -> None:
    """Every broker of the cluster, and what is going on."""
    urls = source.addresses(api)
    if watch:
        out.watch(lambda: source.fetch(urls, CLUSTER), output, status_view, VOLATILE, out.ticks())
    else:
        out.show(source.fetch(urls, CLUSTER), output, status_view)


@click.group()
def cluster() -> None:
    """The cluster as a whole."""


@cluster.command("show")
@api_option
@out.output_option
def cluster_show(api: str | None, output: str) -> None:
    """Its id, controller, racks and partitions."""
    out.show(source.fetch(source.addresses(api), CLUSTER), output, cluster_view)


# --- status -----------------------------------------------------------------------------------------------------------


def status_view(document: dict[str, Any]) -> RenderableType:
    now = time.time()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("BROKER", "HOST", "RACK", "STATE", "SINCE", "KAFKA", "DAEMON"):
        table.add_column(heading, no_wrap=True)
    for heading in ("LEADERS", "REPLICAS", "URP"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("DISK", no_wrap=True)
    for row in document["brokers"]:
        table.add_row(*cells(row, now))
    return Group(table, Text(), *(Text(line) for line in goings_on(document)))


def cells(row: dict[str, Any], now: float) -> list[RenderableType]:
    load = row["load"] or {}
    state = "daemon missing" if row["daemon"] is False else row["state"].replace("_", " ")
    return [
        name(row),
        row["host"] or "-",
        row["rack"] or "-",
        Text(state, style=COLOURS.get(row["state"], "")),
        "-" if row["since_epoch"] is None else out.duration(now - row["since_epoch"]),
        row["kafka_version"] or "-",
        row["daemon_version"] or "-",
        number(load.get("leaders")),
        number(load.get("replicas")),
        number(load.get("under_replicated")),
        disk(row["disk_used_bytes"], row["disk_total_bytes"]),
    ]


def goings_on(document: dict[str, Any]) -> list[str]:
    """What an operator should know, one line each; the first sums it up."""
    rows = document["brokers"]
    serving = sum(row["state"] == "serving" for row in rows)
    lines = [f"{serving} of {len(rows)} {'node serves' if len(rows) == 1 else 'nodes serve'}"]
    if document["partitions"] is not None:
        age = document["metadata"]["age_seconds"]
        ago = f" ({out.duration(age)} ago)" if age is not None and age >= AGED_SECONDS else ""
        lines[0] += f"; {partitions(document)}{ago}"
    for row in rows:
        if row["state"] != "serving":
            lines.append(f"{name(row)}: {row['sentence']}" + (f" -> {row['remedy']}" if row.get("remedy") else ""))
        elif row["registered"] is False and "broker" in row["roles"] and not _since_the_metadata(row, document):
            lines.append(f"{name(row)}: its daemon says that it serves, but Kafka's metadata does not list it")
        if row.get("restart_pending"):
            lines.append(f"{name(row)}: {pending_restart(tuple(row['restart_pending']))}")
        if row.get("note"):  # a daemon of an older version has none
            due = row.get("note_due_epoch")
            when = "" if due is None else f" (in {out.duration(due - time.time())})"
            lines.append(f"{name(row)}: {row['note']}{when}")
    lines += asked_for(document)
    metadata, coordination = document["metadata"], document["coordination"]
    if not metadata["known"]:
        lines.append(f"Kafka's metadata is not known: {metadata['error'] or 'no broker has answered yet'}")
    elif metadata["age_seconds"] > STALE_SECONDS:
        lines.append(f"Kafka's metadata is {out.duration(metadata['age_seconds'])} old")
    if not coordination["connected"]:
        asked = "the daemon asked" if document["asked"] is None else f"the daemon of broker {document['asked']}"
        lines.append(f"{asked} is not connected to ZooKeeper; what it says of other brokers' daemons is from before")
    if coordination.get("marker_ours") is False:  # a daemon of an older version does not say it
        lines.append(
            "this ZooKeeper is not the one that the daemon asked joined (wiped, restored, or another one): "
            "nothing is stopped -> docs/operations.md, marker_missing"
        )
    if coordination["original_daemons"]:
        lines.append("daemons of the original bubuku are at work in this cluster")
    return lines


def asked_for(document: dict[str, Any]) -> list[str]:
    """Maintenance, the changes that are open, and who is in the permit with no daemon to get it out again.

    A daemon of an older version says nothing of them.
    """
    lines = []
    maintenance = document.get("maintenance")
    if maintenance is not None and maintenance["on"]:
        lines.append(maintenance_line(maintenance))
    lines += [change_table.line(change) for change in document.get("changes") or ()]
    answered = {row["node_id"] for row in document["brokers"] if row["daemon"] is not False}
    for entry in document.get("permit") or ():
        broker = entry["broker"]
        if broker not in answered:
            since = out.duration(time.time() - entry["since_epoch"])
            effect = "others wait for it" if entry["working"] else "it counts as down"
            remedy = f"start that daemon; if its host is lost for good: bubuku-cli permit release --broker {broker}"
            lines.append(f"{broker}: in the permit for {since}, and no daemon answers for it: {effect} -> {remedy}")
    return lines


def maintenance_line(document: dict[str, Any]) -> str:
    if not document["on"]:
        return "maintenance is off"
    until = document["until_epoch"]
    ends = "" if until is None else f", for {out.duration(until - time.time())} more"
    why = f": {document['text']}" if document["text"] else ""
    return f"maintenance is on, by {document['by']}{ends}{why}"


def _since_the_metadata(row: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether the broker came to its state after Kafka's metadata was read: the next reading will know it."""
    age, since = document["metadata"]["age_seconds"], row["since_epoch"]
    return age is not None and since is not None and since > document["at_epoch"] - age


def partitions(document: dict[str, Any]) -> str:
    offline, under = document["offline_partitions"], document["under_replicated_partitions"]
    troubles = []
    if offline:
        troubles.append(f"{offline} have no leader")
    if under:
        troubles.append(f"{under} under-replicated")
    return f"{document['partitions']} partitions, " + (", ".join(troubles) or "all in sync")


# --- cluster show -----------------------------------------------------------------------------------------------------


def cluster_view(document: dict[str, Any]) -> RenderableType:
    brokers = [row for row in document["brokers"] if "broker" in row["roles"]]
    controllers = [row for row in document["brokers"] if "controller" in row["roles"]]
    known = [row for row in brokers if row["registered"]]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    rows = [
        ("cluster", document["cluster_id"] or "not known"),
        ("mode", document["mode"]),
        ("controller", number(document["controller_id"])),
        ("brokers", f"{len(known)} registered of {len(brokers)}"),
        *([("controllers", listed(row["node_id"] for row in controllers))] if controllers else []),
        *((f"rack {rack}", listed(ids)) for rack, ids in document["racks"].items()),
        ("topics", number(document["topics"])),
        ("partitions", number(document["partitions"])),
        ("without a leader", number(document["offline_partitions"])),
        ("under-replicated", number(document["under_replicated_partitions"])),
        ("daemons", listed(member["node_id"] for member in document["members"])),
    ]
    for label, value in rows:
        table.add_row(label, value)
    return table


# --- cells ------------------------------------------------------------------------------------------------------------


def name(row: dict[str, Any]) -> str:
    """A broker's id; a dedicated controller says that it is one."""
    return str(row["node_id"]) if "broker" in row["roles"] else f"{row['node_id']} (controller)"


def number(value: int | None) -> str:
    return "-" if value is None else str(value)


def listed(ids: Any) -> str:
    return ", ".join(str(each) for each in ids) or "none"


def disk(used: int | None, total: int | None) -> str:
    if used is None or total is None or total <= 0:
        return "-"
    return f"{100 * used / total:.0f}% of {size(total)}"


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
