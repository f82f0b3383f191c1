"""How deep JSON text is nested."""

from __future__ import annotations

import json

from amulet_local.common.json_depth import shallow


def test_depth_counts_brackets_outside_of_texts() -> None:
    assert shallow(json.dumps(["[" * 100, '\\"[' * 50, {"a{": "}"}]).encode(), 2)
    assert shallow(json.dumps([[1]] * 500).encode(), 2)
    assert not shallow(json.dumps([[[1]]] * 500).encode(), 2)
    assert not shallow(b'["\\\\"' + b"[" * 99, 50)
