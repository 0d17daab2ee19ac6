from collections.abc import Iterator
from pathlib import Path

import pytest

from helper_c.builds import SANITIZERS, compile_c, pure_sources
from helper_c.decoder import Decoder
from lab.must import require


@pytest.fixture(scope="session", params=["gcc", "clang"])
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Decoder]:
    compiler = require(request.param)
    files = [Path(__file__).with_name("decode_main.c"), *pure_sources()]
    out = tmp_path_factory.mktemp("decoder") / f"decode-{request.param}"
    running = Decoder(compile_c(compiler, files, out, *SANITIZERS))
    yield running
    running.close()
