"""A configuration goes into other processes, and can be copied."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec
import pytest

from governor import Config

CONFIG = Config.from_mapping(
    {
        "global": {"degraded_exempt": ["weather"]},
        "outbound": {"weather:post": {"limits": ["5/s", "3 tokens per hour strict", "2 in flight"]}},
        "inbound": {"talk": {"paths": ["/talk"]}},
        "logging": {"directory": "/var/log"},
        "machine": {"socket": "/run/governor.sock"},
    }
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_configuration_is_pickled_and_comes_back_the_same(protocol: int) -> None:
    assert CONFIG == pickle.loads(pickle.dumps(CONFIG, protocol))


@pytest.mark.parametrize("copied", [copy.copy(CONFIG), copy.deepcopy(CONFIG), pickle.loads(pickle.dumps(CONFIG))])
def test_a_copy_is_equal_and_as_fixed_as_the_original(copied: Config) -> None:
    assert CONFIG == copied
    with pytest.raises(TypeError):
        copied.outbound["weather"] = CONFIG.outbound["default"]  # type: ignore[index]  # the mistake


def test_the_name_of_the_policy_file_is_copied_and_makes_no_difference() -> None:
    named = msgspec.structs.replace(CONFIG, policy_file="governor.toml")

    assert CONFIG == named
    assert ["governor.toml"] * 2 == [copied.policy_file for copied in (copy.copy(named), pickle.loads(pickle.dumps(named)))]


def test_a_spawned_worker_is_given_one() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(Config.for_scope, CONFIG, "weather:post").result()

    assert CONFIG.for_scope("weather:post") == found
