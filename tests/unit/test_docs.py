"""The pages agree with the code: made pages are up to date, settings shown are accepted, links and targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bubuku.config import load
from docs import generate

PAGES = (
    generate.ROOT / "README.md",
    generate.ROOT / "CHANGELOG.md",
    *sorted((generate.ROOT / "docs").glob("**/*.md")),
)


def named(path: Path) -> str:
    return str(path.relative_to(generate.ROOT))


@pytest.mark.parametrize("path", list(generate.pages()), ids=named)
def test_made_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.pages()[path], "run `make docs` and commit what it writes"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{named(path)} links to {target}, which is not there"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_settings_that_are_shown_are_accepted(path: Path, tmp_path: Path) -> None:
    """Each YAML block, over the least that a configuration needs."""
    least = {"mode": "static", "kafka": {"dir": "/k", "settings": "/s"}, "zookeeper": {"addresses": "127.0.0.1"}}
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)):
        shown = yaml.safe_load(block)
        whole = {**least, **shown}
        for section in ("kafka", "zookeeper"):
            whole[section] = {**least[section], **shown.get(section, {})}
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(whole), encoding="utf-8")
        load(file, {})


def test_make_help_lists_every_target() -> None:
    makefile = (generate.ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^\.PHONY: (\S+)$", makefile, re.M):
        assert re.search(rf"^{target}:.*## \S", makefile, re.M), f"`make help` would not list {target}"


def test_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (generate.ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for path in PAGES:
        for target in re.findall(r"(?:^    |`)make ([a-z][a-z-]*)", path.read_text(encoding="utf-8"), re.M):
            assert target in targets, f"{named(path)} names `make {target}`, which there is not"
