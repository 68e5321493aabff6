import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from aekit.data import download as module
from aekit.data.download import download
from aekit.errors import AekitError


@pytest.fixture
def torchvision(monkeypatch):
    """Stand in for torchvision, which takes three seconds to import: what it does is set by the test."""
    stand_in = SimpleNamespace(datasets=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    return stand_in.datasets


def test_files_arrive_in_their_place_and_nothing_else_does(tmp_path, torchvision):
    def mnist(root, *, download):
        print("chatter")
        print("bar", file=sys.stderr)
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        (raw / "images").write_text("new")

    torchvision.MNIST = mnist
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "mine").touch()
    download("mnist", tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "MNIST", "MNIST/mine", "MNIST/raw", "MNIST/raw/images",
    ]  # fmt: skip


def test_torchvision_is_not_heard(tmp_path, torchvision, capfd):
    torchvision.MNIST = lambda root, download: print("chatter") or print("bar", file=sys.stderr)
    download("mnist", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_only_the_balanced_split_of_emnist_is_kept(tmp_path, torchvision):
    def emnist(root, *, split, download):
        raw = Path(root, "EMNIST", "raw")
        raw.mkdir(parents=True)
        for name in ("emnist-balanced-train-images-idx3-ubyte", "emnist-letters-train-images-idx3-ubyte", "gzip.zip"):
            (raw / name).touch()

    torchvision.EMNIST = emnist
    download("emnist", tmp_path)
    assert [path.name for path in (tmp_path / "EMNIST" / "raw").iterdir()] == [
        "emnist-balanced-train-images-idx3-ubyte"
    ]


def test_progress_is_told_in_megabytes(tmp_path, torchvision, monkeypatch):
    told = []

    def mnist(root, *, download):
        Path(root, "x").write_bytes(bytes(3_000_000))
        for _ in range(200):
            if told:
                return
            threading_event.wait(0.02)

    import threading

    threading_event = threading.Event()
    monkeypatch.setattr(module, "_INTERVAL_S", 0.01)
    torchvision.MNIST = mnist
    download("mnist", tmp_path, on_progress=lambda *what: told.append(what))
    assert told[0] == ("downloading mnist (MB)", 3, 12)


@pytest.mark.parametrize(
    "failure",
    [
        OSError("<urlopen error no route>"),
        RuntimeError("Error downloading x:\nTried a, got:\nno route\n"),
        ImportError("no route to gdown"),
    ],
)
def test_a_failed_download_names_the_data_set_the_folder_and_the_offline_choice(tmp_path, torchvision, failure):
    def fail(root, *, download):
        Path(root, "half").touch()
        raise failure

    torchvision.CelebA = fail
    before = socket.getdefaulttimeout()
    with pytest.raises(AekitError) as error:
        download("celeba", tmp_path)
    text = str(error.value)
    assert text.startswith("--data celeba: ")
    assert "no route" in text
    assert "--data digits" in text
    assert str(tmp_path / "celeba") in text
    assert "\n" not in text
    assert not list(tmp_path.iterdir())
    assert socket.getdefaulttimeout() == before


def test_a_root_that_cannot_be_made_is_named(tmp_path, torchvision):
    (tmp_path / "file").touch()
    with pytest.raises(AekitError, match=r"--data mnist: .*--data digits"):
        download("mnist", tmp_path / "file" / "data")


@pytest.mark.real_data  # for its time only: it imports torchvision and waits for mirrors
def test_without_a_network_torchvision_itself_gives_one_line(tmp_path):
    script = (
        "import sys; from pathlib import Path; from aekit.errors import AekitError\n"
        "import socket\n"
        "def refuse(*arguments, **options): raise OSError('no network in tests')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from aekit.data.download import download\n"
        "for name in ('kmnist', 'emnist', 'cifar10', 'celeba'):\n"
        "    try: download(name, Path(sys.argv[1]))\n"
        "    except AekitError as error: assert str(error).startswith('--data ' + name), error\n"
        "    else: raise SystemExit(name + ' came')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
