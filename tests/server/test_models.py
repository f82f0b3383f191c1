"""Several models: loaded when they are asked for, and unloaded when they aren't any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.cli.serve_models import models_of
from amulet_local.cli.serve_options import ServeOptions
from amulet_local.cli.terminal import StatusLine
from amulet_local.params.runtime import RuntimeParams
from amulet_local.server import state
from amulet_local.server.failures import HttpError
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_names import ModelNames
from amulet_local.server.models import ModelFile, Models
from amulet_local.server.served_model import Defaults, ServedModel
from tests.scripted import scripted_engine
from tests.server.conftest import Server

Make = Callable[..., Models]


@pytest.fixture
def make() -> Iterator[Make]:
    """Models called a and b, of a byte each."""
    with ExitStack() as stack:

        def made(**limits: Any) -> Models:
            def file(name: str) -> ModelFile:
                names = ModelNames([f"{name}.gguf"])

                def load(_ending: Any) -> ServedModel:
                    engine = stack.enter_context(scripted_engine())
                    pool = engine.pool(places=1, waiting=1)
                    return ServedModel(engine, pool, names, Defaults())

                return ModelFile(names, load, n_bytes=1)

            models = Models([file("a"), file("b")], **limits)
            stack.callback(models.close)
            return models

        yield made


def loaded(models: Models) -> list[str]:
    return [file.names.main for file in models.files if file.model is not None]


def use(models: Models, name: str) -> None:
    models.release(models.acquire(name))


def test_a_model_is_loaded_when_it_is_asked_for_and_any_other_name_means_the_first(
    make: Make,
) -> None:
    models = make()
    assert loaded(models) == []
    use(models, "b+creative")
    assert loaded(models) == ["b"]
    for name in ("gpt-4o", None, 5):
        assert models.find(name).names.main == "a"


def test_the_least_recently_used_makes_room(make: Make) -> None:
    models = make(memory_bytes=1)
    for name in ("a", "b", "a"):
        use(models, name)
        assert loaded(models) == [name]


def test_what_is_in_use_is_never_unloaded(make: Make) -> None:
    models = make(memory_bytes=1, idle_seconds=5)
    used = models.acquire("a")
    models.unload_idle(time.monotonic() + 100)
    with pytest.raises(HttpError, match="in use") as refused:
        models.acquire("b")
    assert refused.value.status == 503
    assert loaded(models) == ["a"]
    models.release(used)
    models.unload_idle(time.monotonic() + 1)
    assert loaded(models) == ["a"]
    models.unload_idle(time.monotonic() + 100)
    assert loaded(models) == []


def test_properties_that_are_read_while_a_model_is_unloaded_are_as_they_were(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make(idle_seconds=3600)
    server = Server(models, Access(), Limits())
    tell = state._props

    def too_late(_: ServedModel, version: str) -> dict[str, Any]:
        models.unload_idle(time.monotonic() + 7200)
        return tell(server.service.model, version)

    try:
        assert server.ready.wait(60)
        awake = server.client.get("/props").json()
        monkeypatch.setattr(state, "_props", too_late)
        response = server.client.get("/props")
        assert (response.status_code, response.json()["is_sleeping"]) == (200, True)
        assert response.json()["chat_template"] == awake["chat_template"]
    finally:
        server.close()


def test_requests_choose_their_model_and_wake_it(make: Make) -> None:
    models = make(idle_seconds=3600)
    server = Server(models, Access(), Limits())

    def statuses() -> dict[str, str]:
        entries = server.client.get("/v1/models").json()["data"]
        return {one["id"]: one["status"]["value"] for one in entries if "+" not in one["id"]}

    try:
        assert server.ready.wait(60)
        assert statuses() == {"a": "loaded", "b": "unloaded"}
        assert server.chat(model="b").json()["model"] == "b"
        assert server.chat(model="b+formal", stream=True).text.endswith("data: [DONE]\n\n")
        while any(file.n_users for file in models.files):  # until the server has seen the end
            time.sleep(0.01)
        assert statuses() == {"a": "loaded", "b": "loaded"}
        places = server.client.get("/metrics").text
        awake = server.client.get("/props").json()
        models.unload_idle(time.monotonic() + 7200)
        asleep = server.client.get("/props").json()
        assert statuses() == {"a": "unloaded", "b": "unloaded"}
        assert (awake["is_sleeping"], asleep["is_sleeping"]) == (False, True)
        assert asleep["chat_template"] == awake["chat_template"]
        told = server.client.get("/metrics").text  # nothing has been counted since
        assert [line for line in told.splitlines() if "_seconds " not in line] == [
            line for line in places.splitlines() if "_seconds " not in line
        ]
        assert [one["size"] for one in server.client.get("/api/tags").json()["models"]][:1] == [1]
        assert server.client.get("/api/ps").json() == {"models": []}
        assert statuses() == {"a": "unloaded", "b": "unloaded"}  # nothing of this wakes one
        assert server.client.post("/tokenize", json={"content": "Hi"}).status_code == 200
        assert statuses() == {"a": "loaded", "b": "unloaded"}
    finally:
        server.close()


def test_options_name_models_or_a_folder_of_them(tmp_path: Path) -> None:
    for name in ("x.gguf", "y-00001-of-00002.gguf", "y-00002-of-00002.gguf", "notes.txt"):
        (tmp_path / name).write_bytes(b"GGUF")

    def names(**options: Any) -> list[str]:
        given = ServeOptions(**options)
        models = models_of(given, RuntimeParams(), Defaults(), StatusLine(enabled=False))
        return [file.names.main for file in models.files]

    assert names(models_dir=str(tmp_path)) == ["x", "y-00001-of-00002"]
    assert names(model=[str(tmp_path / "x.gguf")], alias=["one,two"]) == ["one"]
    twice = [str(tmp_path / "x.gguf"), str(tmp_path / "y-00001-of-00002.gguf")]
    assert names(model=twice, memory=1) == ["x", "y-00001-of-00002"]
    for wrong in ({"alias": ["z"]}, {"memory": 0}, {"idle_unload": -1}):
        with pytest.raises(errors.InvalidParameterError):
            names(model=twice, **wrong)
    with pytest.raises(errors.InvalidParameterError, match="several"):
        names(model=twice[:1], memory=1)
    with pytest.raises(errors.ProfileError, match="profile create nobody"):
        names(model=twice[:1], profile="nobody")
    with pytest.raises(errors.ModelNotFoundError, match="no GGUF"):
        names(models_dir=str(tmp_path / "none"))


def test_a_folder_may_hold_anything_and_each_model_says_its_own(
    tiny_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a_sound_one.gguf").symlink_to(tiny_path)  # the first one is loaded at once here
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    (tmp_path / "gone.gguf").symlink_to("gone")
    (tmp_path / "zero.gguf").symlink_to("/dev/zero")
    (tmp_path / "cut.gguf").write_bytes(tiny_path.read_bytes()[:5000])
    odd = os.fsencode(tmp_path / "odd") + b"\xff.gguf"
    try:
        Path(os.fsdecode(odd)).write_bytes(b"GGUF")
    except OSError:  # file systems with names in UTF-8 alone
        odd = b""
    options = ServeOptions(models_dir=str(tmp_path), parallel=1)
    models = models_of(options, RuntimeParams(n_ctx=256), Defaults(), StatusLine(enabled=False))
    server = Server(models, Access(), Limits())
    try:
        assert server.ready.wait(60)
        listed = {one["id"] for one in server.client.get("/v1/models").json()["data"]}
        assert {"a_sound_one", "pipe", "cut", *(["odd\\udcff"] if odd else [])} <= listed
        for name in ("pipe", "folder", "loop", "gone", "zero", "cut", "odd\\udcff"):
            if name in listed:
                answer = server.chat(model=name)
                assert answer.status_code == 500
                assert f"the model {name!r} can't be loaded" in answer.json()["error"]["message"]
                assert str(tmp_path) not in answer.text + caplog.text
                assert f"the model {name!r} can't be loaded" in caplog.text
        assert server.chat(model="a_sound_one").status_code == 200
    finally:
        server.close()
