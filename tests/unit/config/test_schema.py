"""Records as the schema of the policy file."""

import msgspec
import pytest

from governor.config import GlobalSettings, InboundGroup, InboundSettings, LoggingSettings, MachineSettings, ScopeSettings
from governor.config.schema import read
from governor.errors import ConfigError
from governor.policies.breakers.parameters import Breaker
from governor.policies.retry import Retry
from governor.policies.retry_budget import RetryBudget

RECORDS: list[msgspec.Struct] = [
    *(GlobalSettings(), ScopeSettings(), InboundGroup(), InboundSettings(), LoggingSettings(), MachineSettings()),
    *(Breaker(), Retry(), RetryBudget()),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_field_of_every_record_says_what_is_allowed_in_it(record: msgspec.Struct) -> None:
    for field in record.__struct_fields__:
        with pytest.raises(ConfigError) as caught:
            read(record, {field: object()}, field="section")

        assert f"section.{field}" == caught.value.field


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_an_empty_table_changes_nothing(record: msgspec.Struct) -> None:
    assert record == read(record, {}, field="section")
