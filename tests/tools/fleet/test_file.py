"""The file of the wanted state, and what is wrong with one."""

from pathlib import Path

import pytest

from edge.errors import DataError
from tools.fleet.file import read_fleet

MINIMAL = '[groups.shop]\nhosts = ["cardedge@pi-1", "cardedge@pi-2"]\nbundle = "bundles/november"\n'


def read(folder, text):
    path = folder / "fleet.toml"
    path.write_text(text)
    return read_fleet(path)


def test_paths_are_relative_to_the_file_and_the_first_host_is_the_canary(tmp_path):
    broker = '[broker]\nhost = "mqtt"\npassword_file = "secret"\nca_file = "/etc/ca.pem"\n'
    fleet = read(tmp_path, f'signers = "signers.json"\n{MINIMAL}{broker}')
    assert fleet.signers == tmp_path / "signers.json"
    assert (fleet.broker.password_file, fleet.broker.ca_file) == (tmp_path / "secret", Path("/etc/ca.pem"))
    assert fleet.groups["shop"].bundle == tmp_path / "bundles/november"
    assert fleet.groups["shop"].first_hosts == ("cardedge@pi-1",)


def test_a_device_id_is_the_host_name_unless_listed(tmp_path):
    fleet = read(tmp_path, f'{MINIMAL}[broker]\nhost = "mqtt"\ndevices = {{ "cardedge@pi-2" = "counter" }}\n')
    assert [fleet.broker.device_id(host) for host in fleet.groups["shop"].hosts] == ["pi-1", "counter"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "groups"),
        ("groups = 1", "groups"),
        ("[groups.shop", "cannot be read"),
        (MINIMAL + "soak = 3\n", r"groups\.shop\.soak: Extra inputs are not permitted"),
        (MINIMAL + 'canaries = ["pi-9"]\n', "pi-9 is not among the hosts"),
        (MINIMAL + 'windows = ["at night"]\n', "is not a window"),
        (MINIMAL.replace("cardedge@pi-2", "-oProxyCommand=x"), "is not a host"),
        (MINIMAL + MINIMAL.replace("shop", "other"), "cardedge@pi-1, cardedge@pi-2 named twice"),
        ('timezone = "Europe/Nowhere"\n' + MINIMAL, "is not a time zone"),
        (MINIMAL + "[groups.shop.gate]\nmax_increase = 2\n", r"groups\.shop\.gate\.max_increase"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_fleet(tmp_path / "fleet.toml")
