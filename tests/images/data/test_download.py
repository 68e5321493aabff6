import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from recorded import Recorded

from aekit.errors import AekitError
from aekit.images.data import download as module
from aekit.images.data.download import download


@pytest.fixture
def torchvision(tmp_path, monkeypatch):
    """Return a function that replaces torchvision by a stub with the given behaviour."""
    folder = tmp_path / "python"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)

    def behave(body):
        code = f"""
        import sys, time
        from pathlib import Path
        class datasets: pass
        def fetch(root, *, download, split=None):
            raw = Path(root, "EMNIST" if split else "MNIST", "raw")
            raw.mkdir(parents=True)
            {body}
        datasets.MNIST = datasets.EMNIST = datasets.CelebA = fetch
        """
        (folder / "torchvision.py").write_text(textwrap.dedent(code))

    return behave


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def test_files_arrive_in_their_place_and_nothing_else_does(root, torchvision):
    (root / "MNIST").mkdir(parents=True)
    (root / "MNIST" / "mine").touch()
    torchvision("(raw / 'images').touch()")
    download("mnist", root)
    arrived = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert arrived == ["MNIST", "MNIST/mine", "MNIST/raw", "MNIST/raw/images"]


def test_torchvision_prints_nothing(root, torchvision, capfd):
    torchvision("print('chatter'); print('a bar', file=sys.stderr)")
    download("mnist", root)
    assert capfd.readouterr() == ("", "")


def test_only_the_balanced_split_of_emnist_is_kept(root, torchvision):
    torchvision("[(raw / name).touch() for name in ('emnist-balanced-x', 'emnist-letters-x', 'gzip.zip')]")
    download("emnist", root)
    assert [path.name for path in (root / "EMNIST" / "raw").iterdir()] == ["emnist-balanced-x"]


def test_progress_is_reported_in_megabytes(root, torchvision):
    torchvision("(raw / 'x').write_bytes(bytes(3_000_000)); time.sleep(0.5)")
    progress = Recorded()
    download("mnist", root, progress=progress)
    assert progress.updates[-1] == ("downloading mnist (MB)", 3, 12)


@pytest.mark.parametrize(
    "failure",
    ["raise OSError('no route')", r"raise RuntimeError('Error:\nTried a, got:\nno route\n')", "import no_route"],
)
def test_a_failed_download_names_the_data_set_the_folder_and_the_offline_choice(root, torchvision, failure):
    torchvision(f"(raw / 'half').touch(); {failure}")
    with pytest.raises(AekitError, match=r"the download failed \(.*no.route") as error:
        download("celeba", root)
    assert str(error.value).startswith("--data celeba: it is missing")
    assert str(error.value).endswith(f"put its files into {root}/celeba, or use digits, which needs no download")
    assert str(error.value).isprintable()
    assert not root.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, torchvision):
    (tmp_path / "file").touch()
    with pytest.raises(AekitError, match=r"--data mnist: .* its folder cannot be written \(Not a directory\)"):
        download("mnist", tmp_path / "file" / "data")


def test_an_interruption_ends_the_download_and_leaves_nothing(root, torchvision):
    torchvision("(raw / 'half').touch(); time.sleep(60)")

    def interrupt(n):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("mnist", root, progress=Recorded(on_update=interrupt))
    assert not root.exists()


@pytest.mark.real_data  # for its time only: it imports torchvision and waits for mirrors
def test_without_a_network_torchvision_itself_gives_one_line(root, tmp_path, monkeypatch):
    # Python runs sitecustomize first, also in the process that downloads.
    refuse = "import socket\ndef refuse(*a, **k): raise OSError('no network here')\nsocket.getaddrinfo = refuse\n"
    (tmp_path / "sitecustomize.py").write_text(refuse)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    script = (
        "import sys; from pathlib import Path; from aekit.errors import AekitError\n"
        "from aekit.images.data.download import download\n"
        "try: download(sys.argv[2], Path(sys.argv[1]))\n"
        "except AekitError as error: print(error)\n"
    )
    for name in ("kmnist", "celeba"):
        command = [sys.executable, "-c", script, root, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.startswith(f"--data {name}: it is missing, and the download failed (")
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""


def test_a_killed_download_ends_and_the_next_one_removes_its_leftovers(start, root, torchvision, tmp_path):
    torchvision("(raw / 'half').touch(); Path(root, 'pid').write_text(str(__import__('os').getpid())); time.sleep(60)")
    script = "import sys; from pathlib import Path; from aekit.images.data.download import download\n"
    script += "download('mnist', Path(sys.argv[1]))"
    paths = os.pathsep.join((os.environ["PYTHONPATH"], str(Path(module.__file__).parents[2])))
    process = start([sys.executable, "-c", script, str(root)], env=os.environ | {"PYTHONPATH": paths})
    deadline = time.monotonic() + 30
    while not (pids := list(root.glob(".download-*/pid"))) or not pids[0].read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = Path("/proc", pids[0].read_text())
    process.kill()
    process.wait()
    while child.exists() and "Z" not in (child / "stat").read_text().rpartition(")")[2].split()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    torchvision("(raw / 'images').touch()")
    download("mnist", root)
    assert sorted(path.name for path in root.rglob("*")) == ["MNIST", "images", "raw"]
