"""What tests trust instead of the authorities of the machine."""

from pathlib import Path
from typing import Final

#: The variable that keeps the file of these authorities, if the environment names one.
AUTHORITIES: Final = "AUTHORITIES_OF_THE_MACHINE"
#: A certificate whose key nobody has.
NO_AUTHORITY: Final = Path(__file__).with_name("no_authority.pem")
