"""A cluster of Ray on this machine, whose nodes come and go."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.work.cluster import session

STORE = 80 << 20


@pytest.fixture(scope="session")
def head() -> Iterator[Any]:
    """A cluster whose head computes nothing."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    told = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    with session.as_before():
        cluster = Cluster(initialize_head=True, head_node_args=told)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(head: Any) -> Iterator[Any]:
    """The same, whose other nodes a test adds."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def places(head: Any) -> Iterator[str]:
    """The address of a cluster of two nodes of one CPU, which stay for a module's tests."""
    nodes = [add(head), add(head)]
    yield head.address
    for node in nodes:
        head.remove_node(node, allow_graceful=False)


def add(cluster: Any, **environment: str) -> Any:
    with session.as_before():
        return cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars=environment)
