"""Recorded traces are read exactly, and mistakes in them are named by file, line and value."""

from pathlib import Path

import pytest

from demo.trace import read_trace
from governor import ConfigError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "trace"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_csv_is_read_to_the_last_digit(tmp_path: Path) -> None:
    text = "TIMESTAMP,Tokens\r\n2023-11-16 18:15:46.6805900,374\r\n2023-11-16 18:15:46.6805901,1\r\n2023-11-16 18:15:48,2\r\n"

    assert [0.0, 1e-7, 1.31941] == list(read_trace(written(tmp_path, text)))


def test_the_column_may_stand_anywhere_and_blank_lines_say_nothing(tmp_path: Path) -> None:
    text = '\ufeffTokens,TIMESTAMP\n\n"1,5",2023-11-16T18:15:46Z\n3,2023-11-16T19:15:47+01:00\n'

    assert [0.0, 1.0] == list(read_trace(written(tmp_path, text)))


def test_json_lines_are_milliseconds(tmp_path: Path) -> None:
    text = '{"timestamp": 1500, "input_length": 3}\n\n{"timestamp": 1500}\r\n{"timestamp": 1750.5}'

    assert [0.0, 0.0, 0.2505] == list(read_trace(written(tmp_path, text)))


@pytest.mark.parametrize(
    ("name", "number", "last"),
    [("AzureLLMInferenceTrace_conv.csv", 19_366, 3501.721937), ("mooncake_synthetic_trace.jsonl", 3_993, 1022.025)],
)
def test_public_traces_are_read_whole(traces: Path, name: str, number: int, last: float) -> None:
    arrivals = list(read_trace(traces / name))

    assert (number, last) == (len(arrivals), arrivals[-1])


def test_a_trace_is_read_only_as_far_as_it_is_needed(tmp_path: Path) -> None:
    arrivals = read_trace(written(tmp_path, '{"timestamp": 0}\n{"timestamp": 1}\nnonsense'))

    assert [0.0, 0.001] == [next(arrivals), next(arrivals)]


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [
        ("TIMESTAMP\n2023-11-16 18:15:46\nyesterday\n", 3, "yesterday"),
        ("TIMESTAMP\n2023-13-16 18:15:46\n", 2, "2023-13-16 18:15:46"),
        ("TIMESTAMP\n2023-11-16 18:15:46.12345678901\n", 2, "2023-11-16 18:15:46.12345678901"),
        ("a,TIMESTAMP\n1\n", 2, "1"),
        ("TIMESTAMP\n2023-11-16 18:15:46\n2023-11-16 18:15:45\n", 3, "2023-11-16 18:15:45"),
        (b"TIMESTAMP\n\xff\n", 2, "\\\\xff"),
        ("Time\n2023-11-16 18:15:46\n", 1, "Time"),
        ("", 1, ""),
        ('{"timestamp": 1}\n{"timestamp": "2"}\n', 2, '{"timestamp": "2"}'),
        ('{"timestamp": 1}\n{"timestamp": NaN}\n', 2, '{"timestamp": NaN}'),
        ('{"timestamp": 1}\n{"time": 2}\n', 2, '{"time": 2}'),
        ('{"timestamp": 1}\n\n{"timestamp": 0}\n', 3, '{"timestamp": 0}'),
        ('{"timestamp": 1}\n{"timestamp": 1e999}\n', 2, '{"timestamp": 1e999}'),
    ],
)
def test_a_mistake_is_named_by_file_line_and_value(tmp_path: Path, text: str | bytes, line: int, value: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        list(read_trace(path))

    assert str(caught.value).startswith(f"{path}: line {line} is '{value}'; expected ")


def test_a_trace_without_arrivals_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, "TIMESTAMP\n")

    with pytest.raises(ConfigError, match="at least one arrival"):
        list(read_trace(path))


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        list(read_trace(tmp_path / "none"))


def test_a_long_value_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        list(read_trace(written(tmp_path, "{" + "x" * 10_000)))

    assert 300 > len(caught.value.args[1])
