"""Places that clients name: their memory, saved, restored and erased; and adapters' scales."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from amulet_local import Engine, load
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.server.place_files import PlaceFiles
from tests.adapter_making import random_pairs, write_lora
from tests.server.conftest import Server, lasting, running
from tests.tiny_model import write_tiny

SHAPES = {"blk.0.attn_q.weight": (64, 64), "blk.1.attn_v.weight": (32, 64)}
FRANCE, GERMANY = "What is the capital of France?", "What is the capital of Germany?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("places", numbered=True)


@pytest.fixture(scope="module")
def server(tiny_path: Path, folder: Path) -> Iterator[Server]:
    files = PlaceFiles(str(folder))
    with (
        load(tiny_path, n_ctx=256, n_batch=64) as engine,
        lasting(engine),
        running(engine, places=2, scheduler="interleaved", place_files=files) as server,
    ):
        yield server


def told(server: Server, prompt: str, **body: Any) -> Any:
    asked = {"prompt": prompt, "n_predict": 8, "temperature": 0, "ignore_eos": True, **body}
    response = server.client.post("/completion", json=asked)
    assert response.status_code == 200, response.text
    return response.json()


def act(server: Server, place: Any, action: str, **body: Any) -> httpx.Response:
    return server.client.post(f"/slots/{place}?action={action}", json=body)


def n_common(server: Server) -> int:
    """How many tokens the two questions begin with in common."""
    tokenize = server.service.model.vocabulary.tokenize
    ids = [tokenize(text, add_special=True, parse_special=True) for text in (FRANCE, GERMANY)]
    return next(n for n, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)


def test_a_named_place_goes_on_from_all_that_it_has(server: Server) -> None:
    act(server, 1, "erase")
    first = told(server, FRANCE, id_slot=1)
    assert (first["id_slot"], first["timings"]["cache_n"]) == (1, 0)
    again = told(server, GERMANY, id_slot=1)
    assert again["timings"]["cache_n"] == n_common(server)
    fresh = told(server, FRANCE, id_slot=1, cache_prompt=False)
    assert fresh["timings"]["cache_n"] == 0
    assert fresh["content"] == first["content"]


def test_what_a_place_has_is_saved_and_restored_elsewhere(server: Server, folder: Path) -> None:
    act(server, 1, "erase")
    first = told(server, FRANCE, id_slot=1)
    n_tokens = first["timings"]["prompt_n"] + first["timings"]["predicted_n"] - 1
    saved = act(server, 1, "save", filename="a.bin").json()
    assert (saved["id_slot"], saved["n_saved"]) == (1, n_tokens)
    assert saved["n_written"] == (folder / "a.bin").stat().st_size
    assert act(server, 0, "erase").status_code == 200
    restored = act(server, 0, "restore", filename="a.bin").json()
    assert (restored["n_restored"], restored["n_read"]) == (n_tokens, saved["n_written"])
    again = told(server, GERMANY, id_slot=0)
    assert again["timings"]["cache_n"] == n_common(server)
    assert again["content"] == told(server, GERMANY, id_slot=1)["content"]
    erased = act(server, 0, "erase").json()
    assert erased["n_erased"] > 0
    assert act(server, 0, "erase").json() == {"id_slot": 0, "n_erased": 0}
    assert told(server, FRANCE, id_slot=0)["timings"]["cache_n"] == 0


def test_a_preferences_row_is_saved_beside_the_plain_one(server: Server, folder: Path) -> None:
    act(server, 1, "erase")
    told(server, FRANCE, id_slot=1, preference="formal")
    assert act(server, 1, "save", filename="two.bin").json()["amulet"] == {"rows": 2}
    assert (folder / "two.bin.row1").exists()
    act(server, 1, "erase")
    act(server, 1, "restore", filename="two.bin")
    again = told(server, GERMANY, id_slot=1, preference="formal")
    assert again["timings"]["cache_n"] >= n_common(server)
    act(server, 1, "erase")
    told(server, FRANCE, id_slot=1)
    act(server, 1, "save", filename="two.bin")
    assert not (folder / "two.bin.row1").exists()


def test_the_file_is_llama_servers(server: Server, folder: Path) -> None:
    act(server, 1, "erase")
    told(server, FRANCE, id_slot=1)
    n_saved = act(server, 1, "save", filename="packed.bin").json()["n_saved"]
    data = (folder / "packed.bin").read_bytes()
    magic, version, n_words, marker, packed, n_tokens = struct.unpack_from("=6I", data)
    assert (magic, version) == (int.from_bytes(b"ggsq", "big"), 3)
    assert (n_words, marker, packed, n_tokens) == (n_saved + 4, 2**32 - 1, 1, n_saved)
    tokens = data[24 : 24 + 4 * n_tokens]
    assert data[12 + 4 * n_words :][:12] == struct.pack("=3I", 1, n_saved, 0)  # streams, cells
    older = struct.pack("=3I", magic, version, n_tokens) + tokens + data[12 + 4 * n_words :]
    (folder / "older.bin").write_bytes(older)
    assert act(server, 0, "restore", filename="older.bin").json()["n_restored"] == n_saved


@pytest.mark.parametrize(
    ("place", "action", "body"),
    [
        (2, "erase", {}),
        (-1, "erase", {}),
        ("x", "save", {"filename": "a.bin"}),
        (0, "copy", {}),
        (0, "save", {}),
        (0, "save", {"filename": 3}),
        (0, "save", {"filename": "../a.bin"}),
        (0, "restore", {"filename": "/etc/passwd"}),
        (0, "restore", {"filename": ".."}),
        (0, "restore", {"filename": "a\nb"}),
        (0, "restore", {"filename": "none.bin"}),
    ],
)
def test_what_can_not_be_saved_or_restored_is_said(
    server: Server, folder: Path, place: Any, action: str, body: dict[str, Any]
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    response = act(server, place, action, **body)
    assert response.status_code == 400
    assert str(folder) not in response.text
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("cut", [0, 5, 30, 300])
def test_a_damaged_file_leaves_the_place_usable(server: Server, folder: Path, cut: int) -> None:
    act(server, 1, "erase")
    told(server, FRANCE, id_slot=1)
    act(server, 1, "save", filename="whole.bin")
    (folder / "cut.bin").write_bytes((folder / "whole.bin").read_bytes()[:cut])
    assert act(server, 0, "restore", filename="cut.bin").status_code == 400
    assert told(server, FRANCE, id_slot=0)["content"]


def test_any_changed_byte_of_what_was_saved_is_noticed(server: Server, folder: Path) -> None:
    act(server, 1, "erase")
    told(server, FRANCE, id_slot=1, preference="concise")
    act(server, 1, "save", filename="kept.bin")
    for name in ("kept.bin", "kept.bin.row1"):
        whole = (folder / name).read_bytes()
        for place in {*range(0, len(whole), max(1, len(whole) // 50)), len(whole) - 1}:
            changed = bytearray(whole)
            changed[place] ^= 1
            (folder / name).write_bytes(changed)
            reply = act(server, 0, "restore", filename="kept.bin")
            assert reply.status_code == 400
            assert "kept.bin.sha256" in reply.json()["error"]["message"]
        (folder / name).write_bytes(whole)
    assert act(server, 0, "restore", filename="kept.bin").status_code == 200


def test_digests_are_those_of_sha256sum_and_a_file_without_is_llama_servers(
    server: Server, folder: Path
) -> None:
    told(server, FRANCE, id_slot=1, preference="concise")
    act(server, 1, "save", filename="two.bin")
    lines = (folder / "two.bin.sha256").read_text().splitlines()
    names = [line.split("  ")[1] for line in lines]
    assert names == ["two.bin", "two.bin.row1"]
    assert lines == [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in names
    ]
    (folder / "two.bin.sha256").unlink()
    assert act(server, 0, "restore", filename="two.bin").status_code == 200


@pytest.mark.parametrize("name", ["a.bin.sha256", "a.bin.row1", "a.row12"])
def test_what_stands_beside_a_file_is_no_name_for_one(server: Server, name: str) -> None:
    reply = act(server, 1, "save", filename=name)
    assert reply.status_code == 400
    assert "beside" in reply.json()["error"]["message"]


@pytest.mark.skipif(os.name == "nt", reason="rights")
def test_what_others_could_have_written_is_not_read(tmp_path: Path) -> None:
    files = PlaceFiles(str(tmp_path))
    state = struct.pack("=Ii", 0xAF143CD8, 0) + b"state"
    files.write("a", [([1, 2], state, False)])
    assert files.read("a")[0] == [([1, 2], state, False)]
    (tmp_path / "a").chmod(0o666)
    with pytest.raises(FileAccessError, match="others"):
        files.read("a")
    tmp_path.chmod(0o777)
    with pytest.raises(FileAccessError, match="others may write"):
        PlaceFiles(str(tmp_path))
    with pytest.raises(FileAccessError, match="no folder"):
        PlaceFiles(str(tmp_path / "a"))
    with pytest.raises(InvalidParameterError, match="nothing"):
        files.write("b", [])
    with pytest.raises(FileAccessError, match="form"):
        files.write("b", [([1], b"another form", False)])


@pytest.mark.skipif(os.name == "nt", reason="pipes with names")
def test_what_is_no_file_or_has_no_end_is_not_read(tmp_path: Path) -> None:
    files = PlaceFiles(str(tmp_path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "folder", "zero", "loop"):
        with pytest.raises(FileAccessError):
            files.read(name)
    head = struct.pack("=III", 0x67677371, 3, 2**31)
    for name, n_bytes, said in (("huge", 1 << 42, "memory"), ("words", 1 << 24, "damaged")):
        (tmp_path / name).write_bytes(head)  # the rest takes no room on the disk
        os.truncate(tmp_path / name, n_bytes)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(FileAccessError, match=said):
            files.read(name)


def test_a_place_that_is_not_there_is_any_with_a_warning(server: Server) -> None:
    answer = told(server, FRANCE, id_slot=7)
    assert answer["id_slot"] in (0, 1)
    assert "id_slot" in answer["amulet"]["warnings"][0]
    assert told(server, FRANCE, id_slot=-1)["amulet"]["warnings"] == []


@pytest.fixture(scope="module")
def adapted(model_path: Path, folder: Path) -> Iterator[tuple[Engine, list[tuple[str, float]]]]:
    """A model with an adapter that is off at the start."""
    model = write_tiny(model_path, folder / "narrow.gguf")
    pairs = random_pairs(SHAPES, rank=4, size=0.5, seed=1)
    lora = str(write_lora(folder / "lora.gguf", pairs, alpha=8.0))
    with load(model, n_ctx=128, lora=[(lora, 0.0)]) as engine, lasting(engine):
        yield engine, [(lora, 0.0)]


def test_adapters_count_as_a_request_says_or_as_was_set_last(
    adapted: tuple[Engine, list[tuple[str, float]]],
) -> None:
    engine, adapters = adapted
    half = [{"id": 0, "scale": 0.5}]
    with running(engine, places=1, scheduler="interleaved", adapters=adapters) as server:
        off = told(server, FRANCE)["content"]
        on = told(server, FRANCE, lora=half)["content"]
        assert on != off
        assert told(server, FRANCE)["content"] == off
        assert told(server, FRANCE, lora=[])["content"] == off
        assert server.client.post("/lora-adapters", json=half).json() == {"success": True}
        assert server.client.get("/lora-adapters").json()[0]["scale"] == 0.5
        assert told(server, FRANCE)["content"] == on
        assert told(server, FRANCE, lora=[{"id": 0, "scale": 0}])["content"] == off
        for scale, n_warnings in ((0.5, 0), (0, 0), (50, 1)):
            asked = told(server, FRANCE, lora=[{"id": 0, "scale": scale}])
            assert len(asked["amulet"]["warnings"]) == n_warnings
        for wrong in ("x", [1], [{"id": 1, "scale": 1}], [{"id": 0, "scale": 1e9}], [{"id": 0}]):
            assert server.client.post("/lora-adapters", json=wrong).status_code == 400
            refused = server.client.post("/completion", json={"prompt": "Hi", "lora": wrong})
            assert refused.status_code == 400
    with running(engine, places=1, scheduler="batched", adapters=adapters) as server:
        assert server.client.post("/lora-adapters", json=half).status_code == 501
        refused = server.client.post("/completion", json={"prompt": "Hi", "lora": half})
        assert "interleaved" in refused.json()["error"]["message"]
        assert act(server, 0, "erase").status_code == 400
        shared = told(server, FRANCE, id_slot=0)
        assert "interleaved" in shared["amulet"]["warnings"][-1]
        assert shared["id_slot"] == -1
