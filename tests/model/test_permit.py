"""The protocol of the permit, over every interleaving of a few hosts: safe, with an end, and nothing in it idle."""

from __future__ import annotations

import pytest

from bubuku.core.permit import RULES
from docs import permit_model as pages
from tests.model.cases import CASES, ROWS, Case, found
from tests.model.permit_model import ELSEWHERE, NO_ENTRY, SOUND, Host, State, Variant
from tests.model.search import search, search_from


@pytest.mark.parametrize(
    ("hosts", "faults", "variant"),
    [
        pytest.param(1, 4, SOUND, id="1 host, 4 faults"),
        pytest.param(2, 1, SOUND, id="2 hosts, 1 fault"),
        pytest.param(3, 0, SOUND, id="3 hosts, no fault"),
        pytest.param(2, 1, SOUND._replace(apart=True), id="2 hosts that share nothing, 1 fault"),
        pytest.param(2, 2, SOUND, id="2 hosts, 2 faults", marks=pytest.mark.full),
        pytest.param(3, 1, SOUND, id="3 hosts, 1 fault", marks=pytest.mark.full),
    ],
)
def test_nothing_bad_can_happen_and_all_can_end_well(hosts: int, faults: int, variant: Variant) -> None:
    result = search(hosts, faults, variant, symmetric=True)
    assert result.violation is None, "\n".join([result.violation, *result.trace])
    assert result.states > 1000, "the model does something"


@pytest.mark.parametrize("faults", [0, 1])
def test_two_that_were_both_about_to_be_stopped_under_another_zookeeper_can_end_well(faults: int) -> None:
    """More faults than the searches from the beginning have: neither can know that the other was not told to stop."""
    about_to = Host(recorded=True, intended=True, meant=True, root=ELSEWHERE)
    result = search_from(State((about_to,) * 2, (NO_ENTRY,) * 2, faults=faults), symmetric=True)
    assert result.violation is None, "\n".join([result.violation, *result.trace])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_without_it_something_bad_can_happen(case: Case) -> None:
    assert found(case).violation is not None, "it is idle: take it out, or let the model show what it is for"


def test_every_rule_has_its_case() -> None:
    assert [case.name for case in ROWS] == [rule.name for rule in RULES]


def test_the_page_is_up_to_date() -> None:
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(), "run `make docs` and commit what it writes"
