"""What is in force, as text."""

import tomllib

import pytest

from governor.config import Config, show


@pytest.mark.promise("R53")
def test_what_is_shown_is_a_policy_file_that_says_the_same() -> None:
    config = Config.from_mapping(
        {
            "global": {"degraded_exempt": ["multi_runtime", "api.example.com"]},
            "outbound": {
                "default": {"breaker": {"failures": "off", "failure_rate": 0.5, "window": "30s"}},
                "api.example.com:post": {"limits": ["8.33/s burst 500", "900 tokens per 10s strict", "3 in flight"]},
            },
            "logging": {"enabled": True, "directory": 'C:\\logs "here"', "max_size_mb": 5},
        }
    )

    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))


def test_every_section_is_shown_with_all_that_it_inherits() -> None:
    lines = show(Config.from_mapping({"outbound": {"github:post": {"limits": ["30 in flight"]}}}))
    start = lines.index('[outbound."github:post"]')

    assert 'limits = ["30 in flight"]' == lines[start + 1]
    assert lines[start + 2].startswith('breaker = { failures = 3, failure_rate = "off", window_calls = "off", window = "off", ')
    assert lines[start + 2].endswith(
        ' successes = 2, open_for = "1m", max_open_for = "10m", probes = 3, probe_deadline = "1m", ramp_up = true }'
    )


def test_the_default_comes_first_and_a_provider_before_its_methods() -> None:
    lines = show(Config.from_mapping({"outbound": {"a:get": {}, "b": {}, "a": {}}}))
    sections = [line for line in lines if line.startswith("[outbound")]

    assert "[outbound.default]" == sections[0]
    assert sections.index("[outbound.a]") < sections.index('[outbound."a:get"]')
