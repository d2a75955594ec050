"""The units in the documentation, as systemd itself reads them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-as-a-service.md"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units_and_calls_the_service_well_confined(tmp_path: Path) -> None:
    service, sockets, drop_in = re.findall(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert "ProcSubset=" not in service, "it hides the id of the system's start, which the journal of the state needs"
    # The program of the unit is not installed here.
    (tmp_path / "governor.service").write_text(re.sub(r"ExecStart=\S+", f"ExecStart={shutil.which('true')}", service))
    (tmp_path / "governor.socket").write_text(sockets)
    (tmp_path / "governor.service.d").mkdir()
    (tmp_path / "governor.service.d" / "workers.conf").write_text(
        re.sub(r"ExecStart=/\S+", f"ExecStart={shutil.which('true')}", drop_in).replace("User=app", "User=root")
    )
    units = [str(tmp_path / "governor.service"), str(tmp_path / "governor.socket")]

    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)

    assert (0, "") == (verified.returncode, verified.stderr)
    security = ["systemd-analyze", "security", "--offline=yes", "--threshold=25", units[0]]
    rated = subprocess.run(security, capture_output=True, text=True, check=False)
    assert 0 == rated.returncode, rated.stdout
