"""Near copies: the fast search finds the same pairs as comparing all images with all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import few_examples
from tune_bio.datasets.audit import near_copies
from tune_bio.datasets.audit.near_copies import near_pairs
from tune_bio.datasets.decoding.parallel import no_progress


def _hashes(n: int, seed: int) -> Any:
    """Return hashes of which about half differ in a few bits from an earlier one."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (n, 256), dtype=np.uint8)
    for i in range(1, n):
        if rng.random() < 0.5:
            flips = rng.choice(256, rng.integers(0, 45), replace=False)
            bits[i] = bits[rng.integers(0, i)]
            bits[i, flips] ^= 1
    return np.packbits(bits, axis=1).view("<u8"), bits.astype(int)


@few_examples
@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 2**31), st.integers(1, 20))
def test_pairs_agree_with_a_plain_comparison(n: int, limit: int, seed: int, block: int) -> None:
    hashes, bits = _hashes(n, seed)
    distances = np.abs(bits[:, np.newaxis] - bits[np.newaxis]).sum(axis=2)
    expected = {
        (i, j, int(distances[i, j]))
        for i in range(n)
        for j in range(i + 1, n)
        if distances[i, j] <= limit
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_copies, "_BLOCK", block)  # so that pairs are in several blocks and tiles
        patch.setattr(near_copies, "_TILE", 2 * block)
        pairs = near_pairs(hashes, limit, no_progress)
    assert (
        set(zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True)) == expected
    )
    assert len(pairs.i) == len(expected)
    assert sorted(pairs.bits) == pairs.bits.tolist()
    assert pairs.complete


def test_the_number_of_pairs_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_copies, "MAX_PAIRS", 50)
    pairs = near_pairs(np.zeros((400, 4), np.uint64), 20, no_progress)
    assert len(pairs.i) == 50
    assert not pairs.complete
    assert (pairs.i < pairs.j).all()
