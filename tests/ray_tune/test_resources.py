"""The number of concurrent trials that the nodes have room for."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tune_bio.errors import ResourceError
from tune_bio.ray_tune.resources import Node, allot, local_nodes
from tune_bio.space.settings import SearchSettings


@pytest.mark.parametrize(
    ("nodes", "settings", "concurrent"),
    [
        ([Node(2, 0)], {}, 2),
        ([Node(4, 2)], {}, 2),  # one GPU per trial, if there are GPUs
        ([Node(4, 2)], {"gpus_per_trial": 0.5}, 4),
        (
            [Node(64, 8)],
            {"gpus_per_trial": 0.15},
            48,
        ),  # not 53: a fraction is allotted on a single GPU
        ([Node(8, 0)], {"cpus_per_trial": 3}, 2),
        ([Node(8, 0)], {"cpus_per_trial": 0.5}, 16),
        ([Node(8, 0), Node(2, 0)], {"cpus_per_trial": 2}, 5),
        ([Node(8, 4)], {"gpus_per_trial": 2}, 2),
        ([Node(8, 1)], {"gpus_per_trial": 0}, 8),
        ([Node(8, 0)], {"max_concurrent": 3}, 3),
    ],
)
def test_concurrent_trials(nodes: list[Node], settings: dict[str, Any], concurrent: int) -> None:
    assert allot(SearchSettings(**settings), tuple(nodes)).concurrent == concurrent


@pytest.mark.parametrize(
    ("nodes", "settings"),
    [
        ([Node(2, 0)], {"gpus_per_trial": 1}),
        ([Node(2, 0), Node(2, 0)], {"cpus_per_trial": 3}),  # no single node has three
        ([Node(8, 4)], {"gpus_per_trial": 1.5}),
    ],
)
def test_more_than_a_single_node_has_is_refused(
    nodes: list[Node], settings: dict[str, Any]
) -> None:
    with pytest.raises(ResourceError, match="--gpus-per-trial"):
        allot(SearchSettings(**settings), tuple(nodes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch is queried on this machine")
def test_a_machine_without_gpus_is_described_without_importing_pytorch() -> None:
    script = (
        "import sys; from tune_bio.ray_tune.resources import local_nodes; "
        "print(local_nodes()[0].gpus, 'torch' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert completed.stdout.split() == ["0", "False"], completed.stderr


def test_with_a_gpu_driver_pytorch_reports_the_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tune_bio.ray_tune.resources._GPU_DRIVERS", (str(tmp_path),))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    properties = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: properties)
    (node,) = local_nodes()
    assert (node.gpus, node.gpu_memory) == (2, 8 * 2**30)
    monkeypatch.setattr("tune_bio.ray_tune.resources._GPU_DRIVERS", (str(tmp_path / "nowhere"),))
    if sys.platform == "linux":
        assert local_nodes()[0].gpus == 0
