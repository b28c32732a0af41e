"""Threads that compute leave the cores to each other and to the doors."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import get_native_id

import pytest
from threadpoolctl import ThreadpoolController

from service.threads import BEHIND, behind_the_doors, one_for_each_product

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities here")


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, get_native_id())


def started() -> int:
    with ThreadPoolExecutor(1) as child:
        return child.submit(nice).result()


def test_one_thread_steps_back_with_those_it_starts_and_no_other() -> None:
    own = nice()
    with ThreadPoolExecutor(1, initializer=behind_the_doors) as computing:
        assert computing.submit(nice).result() == max(BEHIND, own)
        assert computing.submit(started).result() == max(BEHIND, own)
    assert nice() == own


def test_one_that_is_further_back_stays_there() -> None:
    def further() -> int:
        os.setpriority(os.PRIO_PROCESS, get_native_id(), 17)
        behind_the_doors()
        return nice()

    with ThreadPoolExecutor(1) as computing:
        assert computing.submit(further).result() == 17


def test_numpy_multiplies_in_the_thread_that_asks() -> None:
    pools = ThreadpoolController().select(internal_api="openblas")
    with pools.limit(limits=2):
        one_for_each_product()
        assert [pool["num_threads"] for pool in pools.info()] == [1] * len(pools)
        assert len(pools) > 0
