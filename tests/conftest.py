"""What holds for all tests: repeatable, one thread, no network."""

import socket

import pytest
import torch
from hypothesis import settings

settings.register_profile(
    "tests",
    max_examples=20,
    deadline=None,  # the first call of a torch operator is slow
    derandomize=True,
)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two workers share the machine; more threads only get in the way."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """A test that reaches for the network fails at once."""

    connect = socket.socket.connect

    def refuse(self, address):
        if self.family == socket.AF_UNIX:  # processes of this machine
            return connect(self, address)
        raise AssertionError(f"a test reached for the network: {address}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Every test draws the same random numbers, alone or in a crowd."""
    torch.manual_seed(0)
