"""Asking a real cluster's daemons for changes, as `bubuku-cli` does, and their ends. Callers: fault tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from tests.support.cluster import RealCluster
from tests.support.faults import RECOVERY_SECONDS

ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Requests:
    """`by`: the node whose daemon is asked."""

    cluster: RealCluster
    by: int = 1

    def send(self, method: str, path: str, document: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        url = self.cluster.layout.node(self.by).api_url + path
        answer = requests.request(method, url, json=document, timeout=40)
        return answer.status_code, answer.json()

    def ask(self, kind: str, *brokers: int, **more: Any) -> list[int]:
        """The sequences of the changes, which must be taken."""
        code, document = self.send("POST", "/v1/changes", {"kind": kind, "brokers": list(brokers), **more})
        assert code == 201, document
        return [change["sequence"] for change in document["changes"]]

    def roll(self, *brokers: int) -> int:
        """The sequence of one change of all of them."""
        (sequence,) = self.ask("roll", *brokers)
        return sequence

    def asked(self, kind: str, brokers: list[int]) -> tuple[int, dict[str, Any]]:
        """The answer, whatever it is."""
        return self.send("POST", "/v1/changes", {"kind": kind, "brokers": brokers})

    def plan(self, *brokers: int) -> list[int]:
        """The order in which a roll of these would go."""
        code, document = self.send("POST", "/v1/changes", {"kind": "roll", "brokers": list(brokers), "dry_run": True})
        assert code == 200, document
        return [turn["broker"] for turn in document["plan"]["turns"]]

    def pause(self, sequence: int, paused: bool) -> None:
        code, document = self.send("PATCH", f"/v1/changes/{sequence}", {"paused": paused})
        assert code == 200, document

    def cancel(self, sequence: int) -> None:
        code, document = self.send("DELETE", f"/v1/changes/{sequence}")
        assert code == 202, document

    def maintenance(self, on: bool) -> None:
        code, document = self.send("POST", "/v1/maintenance", {"on": on, "reason": "a test"})
        assert code == 200, document

    def show(self, sequence: int) -> dict[str, Any]:
        code, document = self.send("GET", f"/v1/changes/{sequence}")
        assert code == 200, document
        return document

    def permit(self) -> dict[int, dict[str, Any]]:
        code, document = self.send("GET", "/v1/permit")
        assert code == 200, document
        return {entry["broker"]: entry for entry in document["entries"]}

    def wait_phase(self, sequence: int, *phases: str, deadline_seconds: float = RECOVERY_SECONDS) -> dict[str, Any]:
        """Until the change is in one of these phases (or states, once it has ended)."""
        seen: list[str] = []

        def there() -> dict[str, Any]:
            code, found = self.send("GET", f"/v1/changes/{sequence}")
            if code == 503:
                seen.append(found["detail"])
                return {}
            assert code == 200, found
            said = f"{found['state']}/{found['phase']}: {found['sentence']}"
            if said not in seen[-1:]:
                seen.append(said)
            return found if found["phase"] in phases else {}

        return self.cluster.wait_for(
            there, deadline_seconds, f"change {sequence} to be {' or '.join(phases)}; it was {seen}"
        )

    def wait_ended(self, *sequences: int, deadline_seconds: float = RECOVERY_SECONDS) -> list[dict[str, Any]]:
        return [self.wait_phase(sequence, *ENDED, deadline_seconds=deadline_seconds) for sequence in sequences]

    def wait_done(self, *sequences: int, deadline_seconds: float = RECOVERY_SECONDS) -> None:
        for found in self.wait_ended(*sequences, deadline_seconds=deadline_seconds):
            assert found["state"] == "done", found
