"""Turns: an interrupt in the main thread takes none from another one."""

from __future__ import annotations

import threading

from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.stream_lock import StreamLock
from tests.interrupts import interrupted_everywhere


def test_ctrl_c_in_a_turn_leaves_it_to_others() -> None:
    freed = threading.Event()
    lock = StreamLock(StopFlag(), freed.set)

    def take_a_turn() -> None:
        with lock.turn(), lock.using():
            pass

    n_steps = 0
    for _ in interrupted_everywhere(take_a_turn):
        n_steps += 1
        other = threading.Thread(target=take_a_turn, daemon=True)
        other.start()
        other.join(60)
        assert not other.is_alive()
    assert n_steps > 10
    lock.close()
    assert freed.is_set()
