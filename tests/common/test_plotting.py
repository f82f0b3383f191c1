"""Whether a plot can be made, before minutes are spent on its figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local.common import errors, plotting


def test_a_chart_needs_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plotting.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.MissingExtraError, match=r"amulet-local\[plot\]"):
        plotting.check_plot(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.pdf", errors.InvalidParameterError), ("no/a.png", errors.FileAccessError)],
)
def test_a_chart_that_can_not_be_written_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: type[Exception]
) -> None:
    monkeypatch.setattr(plotting.importlib.util, "find_spec", lambda _: object())
    with pytest.raises(kind):
        plotting.check_plot(tmp_path / name)
