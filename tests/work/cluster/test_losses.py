"""How many losses are too many, and which are not counted."""

from pipeline.work.cluster.losses import MOST, REST_S, Losses


def test_a_node_whose_workers_never_get_ready_is_given_up() -> None:
    losses = Losses()
    for turn in range(MOST):
        for node in ("a", "b", "c"):
            assert not losses.add(None, node, turn)
    assert losses.add(None, "b", MOST)


def test_a_worker_that_is_ready_has_its_node_begin_anew() -> None:
    losses = Losses()
    for turn in range(10 * MOST):
        if not turn % MOST:
            losses.works("a")
        assert not losses.add(None, "a", turn)
    losses.works("b")
    assert losses.add(None, "a", 0)


def test_an_item_that_ends_workers_anywhere_is_given_up() -> None:
    losses = Losses()
    for node in "abcde":
        assert not losses.add(7, node, 0)
        assert not losses.add(8, node, 0)
    losses.works("a")
    assert losses.add(7, "f", 0)


def test_what_is_lost_with_its_node_counts_for_nothing() -> None:
    losses = Losses()
    for number in range(10 * MOST):
        node = f"node {number}"
        for item in (None, 0):
            assert not losses.add(item, node, number)
        losses.keep({"another"})


def test_a_node_rests_after_a_loss_and_no_other_does() -> None:
    losses = Losses()
    losses.add(None, "a", 100.0)
    losses.add(0, "c", 100.0)
    assert losses.rests("a", 100.0 + REST_S / 2)
    assert not losses.rests("a", 100.0 + REST_S)
    assert not losses.rests("b", 100.0)
    assert not losses.rests("c", 100.0)
