"""A real graph for the tests of the sinks."""

import pytest


@pytest.fixture
def graph():
    """Return a real graph in this process."""
    from sink_graph import Graph  # only where rclpy can be imported

    made = Graph()
    yield made
    made.close()
