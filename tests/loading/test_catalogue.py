"""The catalogue says all of each model, and so does its page."""

from __future__ import annotations

import re

from amulet_local.loading.hub import parse_reference
from amulet_local.loading.model_store import catalogue
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "catalogue.md"


def test_every_model_has_a_licence_a_size_a_digest_and_one_place() -> None:
    entries = catalogue()
    assert sum(bool(entry.repository) for entry in entries.values()) >= 12
    for name, entry in entries.items():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name)
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256), name
        assert bool(entry.package) != bool(entry.repository), name
        assert entry.size_bytes > 1 << 20, name
        assert entry.licence, name
        assert entry.description, name
        assert entry.file.endswith(".gguf"), name
        if entry.repository:
            assert parse_reference(entry.repository) == (entry.repository, "")
    digests = [entry.sha256 for entry in entries.values()]
    assert len(set(digests)) == len(digests)


def test_its_page_has_each_model_as_it_is() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == set(catalogue())
    for name, entry in catalogue().items():
        _, size, licence, digest, where = rows[name].split(" | ")
        assert size == f"{entry.size_bytes:,}", name
        assert licence == entry.licence, name
        assert digest == f"`{entry.sha256}`", name
        assert where, name
