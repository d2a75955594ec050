"""What tests trust instead of the authorities of the machine."""

from pathlib import Path
from typing import Final

#: The variable that keeps the file of these authorities, if the environment names one.
AUTHORITIES: Final = "AUTHORITIES_OF_THE_MACHINE"
#: A self-signed certificate whose private key was not kept: it has signed nothing else.
NO_AUTHORITY: Final = Path(__file__).with_name("no_authority.pem")
