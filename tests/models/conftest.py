"""Every model test runs with the published linear attention and with the short convolution on its keys."""

from functools import partial

import pytest


@pytest.fixture(scope="session", params=[0, 3], ids=["published", "key_conv"])
def tiny_config(request, tiny_config):
    return partial(tiny_config, key_conv=request.param)
