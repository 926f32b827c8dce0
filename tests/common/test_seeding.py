"""Random numbers depend only on (seed, purpose, epoch), not on earlier draws."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import examples
from tune_bio.common.seeding import derive, generator, global_seed

seeds = st.integers(0, 2**63 - 1)
draws = st.tuples(seeds, st.sampled_from(["weights", "shuffle", "dropout"]), st.integers(0, 1000))


@examples
@given(draws, draws)
def test_two_draws_are_equal_exactly_if_seed_purpose_and_epoch_are(
    a: tuple[int, str, int], b: tuple[int, str, int]
) -> None:
    assert (derive(*a) == derive(*b)) == (a == b)
    assert 0 <= derive(*a) < 2**63
    same = torch.equal(*(torch.rand(4, generator=generator(*key)) for key in (a, b)))
    assert same == (a == b)


def test_the_global_generator_is_seeded_inside_the_block_and_restored() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with global_seed(5, "dropout", 2):
        seeded = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with global_seed(5, "dropout", 2):
        assert torch.equal(torch.rand(3), seeded)
    with global_seed(5, "dropout", 3):
        assert not torch.equal(torch.rand(3), seeded)
