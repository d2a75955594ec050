"""The interleavings find each fault that is planted in a lease."""

import pytest

from governor._actors.leases.leased_places import LeasedPlaces
from tests.interleaving.planted import PLANTED
from tests.support.counting import python_kernel
from tests.support.programs import execute


@pytest.mark.promise("R02", "R06", "R07", "R08", "R51", "R55")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            id=f"{scenario.__name__}-{fault.attribute}: {fault.new.__name__}",
            marks=[python_kernel] * (fault.getter() is LeasedPlaces),
        )
        for number, (scenario, fault, _) in enumerate(PLANTED)
    ],
)
def test_a_planted_fault_is_found_and_without_it_nothing(number: int) -> None:
    done = execute(f"from tests.interleaving.planted import find; print(find({number}))", warnings="default")

    assert done.stdout.strip().isdigit()
