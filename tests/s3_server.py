"""A server of S3 on this machine, with one bucket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "never-to-be-shown"}
BUCKET = "bucket"


@contextmanager
def serving() -> Iterator[str]:
    """The URL of an empty bucket, which this process and those that it starts can reach."""
    import fsspec
    from moto.server import ThreadedMotoServer

    from benchmark.experiment import fitter

    fitter.stop()  # the one that runs knows of no such server
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    there = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    with patch.dict(os.environ, there | KEYS):
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield f"s3://{BUCKET}"
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    fitter.stop()
    server.stop()
