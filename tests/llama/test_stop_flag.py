"""What llama.cpp reads of a stop flag, through its native callback."""

from __future__ import annotations

import ctypes

from amulet_local.llama.stop_flag import StopFlag


def test_the_native_callback_says_whether_the_flag_is_set() -> None:
    flag = StopFlag()
    ask = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(flag.callback)
    said = [ask(flag.address)]
    flag.set()
    said += [ask(flag.address), flag.is_set()]
    flag.clear()
    assert [*said, ask(flag.address), flag.is_set()] == [False, True, True, False, False]
