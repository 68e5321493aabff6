"""Pages of models in Chromium and Firefox: they decode and encode what torch does, and clicks do what they say."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import aekit as package

pytestmark = pytest.mark.slow  # each starts a browser
BROWSERS = ["browser", "firefox"]


@pytest.fixture(scope="module")
def checkpoints(aekit, tmp_path_factory):
    """Return two VAEs of ten latent dimensions, of which one tells little of an image."""
    folder = tmp_path_factory.mktemp("models")
    for name, beta in {"a": 0.25, "b": 4}.items():
        options = ("--data", "digits", "--limit", 400, "--latent", 10, "--beta", beta, "--epochs", 5)
        assert aekit("train-vae", *options, "--threads", 1, "-o", folder / f"{name}.safetensors").exit_code == 0
    return [folder / "a.safetensors", folder / "b.safetensors"]


@pytest.fixture(scope="module")
def page(aekit, checkpoints):
    """Return a page of both."""
    path = checkpoints[0].parent / "both.html"
    result = aekit("explore", *checkpoints, "--threads", 1, "-o", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(params=BROWSERS)
def tab(request, page):
    """Return a browser with the page of both models open."""
    browser = request.getfixturevalue(request.param)
    browser.resize(1280, 1000)
    browser.open(page, idle="true")
    return browser


def settled(tab, script):
    """Return the value of a script after what was changed is shown."""
    return tab.run(f"new Promise((done) => setTimeout(() => done({script}), 300))")


def place(tab, point):
    """Return where a point of the map is in the window."""
    tab.run("document.getElementById('map').scrollIntoView({block: 'center'})")
    spot = f"aekit.map.toScreen(aekit.map.points[2 * {point}], aekit.map.points[2 * {point} + 1])"
    return tuple(
        tab.run(f"[{spot}].map(([x, y]) => {{ const box = document.getElementById('map').getBoundingClientRect(); "
                "return [box.left + x, box.top + y]; })[0]")
    )  # fmt: skip


def shown_codes(tab):
    return [np.array(each) for each in settled(tab, "aekit.state.codes.map((code) => [...code])")]


def codes_of(tab, point):
    script = f"aekit.models.map((m) => [...m.codes.slice({point} * m.latent, ({point} + 1) * m.latent)])"
    return [np.array(each) for each in tab.run(script)]


def text(tab, name):
    return settled(tab, f"document.getElementById('{name}').textContent")


def choose(tab, mode):
    tab.run(f"document.querySelector('input[value={mode}]').click()")


def test_it_says_how_far_it_is_from_torch(tab):
    assert re.search(
        r"on 100 codes: the largest difference of a pixel is (less than )?0\.\d\d of 255", text(tab, "check")
    )
    assert 0 < float(tab.run("document.body.dataset.pixels")) < 0.5 / 255
    assert 0 < float(tab.run("document.body.dataset.codes")) < 0.005


def test_it_decodes_and_encodes_what_torch_does(tab, checkpoints):
    for number, path in enumerate(checkpoints):
        model = package.load(path)
        z = torch.linspace(-2, 2, 10)[None]
        call = f"Network.decode(aekit.models[{number}].network, Float32Array.from({z[0].tolist()}))"
        decoded = np.array(tab.run(f"[...aekit.{call}]"))
        np.testing.assert_allclose(decoded, model.decode(z).flatten().numpy(), atol=0.5 / 255)
        x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        call = f"Network.encode(aekit.models[{number}].network, Float32Array.from({x.flatten().tolist()})).mean"
        encoded = np.array(tab.run(f"[...aekit.{call}]"))
        np.testing.assert_allclose(encoded, model.encode(x)[0].numpy(), atol=0.02)


def test_a_click_on_a_point_decodes_its_code_in_all_models(tab):
    tab.drag(place(tab, 7))
    for mine, truth in zip(shown_codes(tab), codes_of(tab, 7), strict=True):
        np.testing.assert_allclose(mine, truth)
    assert re.search(r"test image \d+ \(label \d\)", text(tab, "about"))
    assert "original" in text(tab, "cards")


def test_arrow_keys_go_from_point_to_point(tab):
    tab.drag(place(tab, 7))
    before = shown_codes(tab)[0]
    tab.run("document.getElementById('map').focus()")
    tab.key("ArrowRight")
    after = shown_codes(tab)[0]
    assert not np.allclose(before, after)
    x = tab.run("[aekit.map.mark[0], aekit.map.points[14]]")
    assert x[0] > x[1]


def test_dragging_from_one_point_to_another_makes_a_path_between_their_codes(tab):
    choose(tab, "path")
    first, last = place(tab, 3), place(tab, 60)
    tab.drag(first, tuple((a + b) / 2 for a, b in zip(first, last, strict=True)), last)
    tab.run("(() => { const slider = document.getElementById('along'); slider.value = 0.25; "
            "slider.dispatchEvent(new Event('input')); })()")  # fmt: skip
    starts, ends = codes_of(tab, 3), codes_of(tab, 60)
    for mine, start, end in zip(shown_codes(tab), starts, ends, strict=True):
        np.testing.assert_allclose(mine, 0.75 * start + 0.25 * end, atol=1e-5)
    tab.run("document.getElementById('play').click()")
    moving = settled(tab, "document.getElementById('play').textContent")
    assert moving == "Stop"
    assert not np.allclose(shown_codes(tab)[0], 0.75 * starts[0] + 0.25 * ends[0])
    tab.run("document.getElementById('play').click()")
    assert text(tab, "play") == "Play"


def test_a_lasso_lists_the_points_in_it(tab):
    choose(tab, "lasso")
    x, y = place(tab, 11)
    tab.drag((x - 12, y - 12), (x + 12, y - 12), (x + 12, y + 12), (x - 12, y + 12), (x - 12, y - 12))
    chosen = settled(tab, "[...aekit.map.chosen]")
    assert 11 in chosen
    points = np.array(
        tab.run("[...aekit.map.points].map((v, i, all) => i % 2 ? 0 : aekit.map.toScreen(v, all[i + 1]))")[::2]
    )
    near = np.abs(points - points[11]).max(1) <= 11.5
    assert set(np.flatnonzero(near).tolist()) <= set(chosen)
    lines = tab.run("aekit.toCsv(aekit.selectionTable([...aekit.map.chosen]))").splitlines()
    assert len(lines) == 1 + len(chosen)
    assert lines[0] == "index,file,label,x_a,y_a,mse_a,x_b,y_b,mse_b"


def test_sliders_of_the_same_rank_move_together(tab):
    tab.run("(() => { const slider = document.querySelector('#sliders input'); slider.value = slider.max; "
            "slider.dispatchEvent(new Event('input')); })()")  # fmt: skip
    for number, mine in enumerate(shown_codes(tab)):
        own = f"aekit.models[{number}]"
        j, high = tab.run(f"[{own}.order[0], {own}.high[{own}.order[0]]]")
        assert mine[j] == pytest.approx(high, rel=1e-5)
        others = np.delete(np.arange(10), j)
        np.testing.assert_allclose(mine[others], np.array(tab.run(f"[...{own}.centre]"))[others], atol=1e-6)


def test_a_direction_moves_along_itself_by_what_its_slider_says(tab):
    tab.run("(() => { const slider = document.querySelector('#directions input'); slider.value = 0.5; "
            "slider.dispatchEvent(new Event('input')); })()")  # fmt: skip
    value = float(tab.run("document.querySelector('#directions input').value"))
    vector, centre = (
        np.array(each) for each in tab.run("[[...aekit.models[0].vectors.slice(0, 10)], [...aekit.models[0].centre]]")
    )
    np.testing.assert_allclose(shown_codes(tab)[0], centre + value * vector, atol=1e-4)


def test_a_drawing_is_encoded(tab):
    tab.run("document.getElementById('pad').scrollIntoView({block: 'center'})")
    box = tab.run("(() => { const box = document.getElementById('pad').getBoundingClientRect(); "
                  "return [box.left, box.top, box.width, box.height]; })()")  # fmt: skip
    spot = [(box[0] + box[2] * a, box[1] + box[3] * b) for a, b in ((0.3, 0.2), (0.7, 0.2), (0.4, 0.8))]
    tab.drag(*spot)
    image = np.array(settled(tab, "[...aekit.state.from.image]"))
    assert image.max() > 0.5
    assert "own image" in text(tab, "about")
    found = np.array(
        tab.run("[...aekit.Network.encode(aekit.models[0].network, Float32Array.from(aekit.state.from.image)).mean]")
    )
    np.testing.assert_allclose(shown_codes(tab)[0], found, atol=1e-6)
    assert "mean squared error" in text(tab, "cards")


def test_random_codes_have_the_spread_of_the_prior(tab):
    script = "Array.from({length: 400}, () => [...aekit.drawCode(aekit.models[0])])"
    codes = np.array(tab.run(script))
    assert abs(codes.mean()) < 0.1
    assert codes.std() == pytest.approx(1, abs=0.05)


def test_a_wrong_network_is_not_shown(request, page, tmp_path, browser):
    # One weight of the decoder's last layer is another one than when the page was made.
    wrong = tmp_path / "wrong.html"
    text_ = page.read_text()
    found = re.search(r'(<script type="text/plain" id="weights-0">)(.*?)(</script>)', text_)
    data = found[2]
    wrong.write_text(text_.replace(data, data[:-400] + "A" * 396 + data[-4:]))
    browser.open(wrong, idle="true")
    assert "differ from torch" in text(browser, "check")
    assert browser.run("document.querySelector('.card .pair').hidden") is True


def test_it_asks_for_nothing_and_complains_of_nothing(browser, page):
    browser.open(page, idle="true")
    assert [url for url in browser.requests if not url.startswith(("data:", "file:"))] == []
    assert browser.complaints == []


@pytest.mark.parametrize("name", BROWSERS)
def test_a_phone_shows_it_without_scrolling_sideways(request, name, page, tmp_path):
    browser = request.getfixturevalue(name)
    browser.resize(360, 740)
    browser.open(page, idle="true")
    width = browser.run("innerWidth")
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.screenshot(tmp_path / "phone.png")
    with Image.open(tmp_path / "phone.png") as shot:
        assert np.asarray(shot.convert("L")).std() > 10


def test_a_selection_is_saved_as_a_table(browser, page, tmp_path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(page, idle="true")
    browser.run("document.querySelector('#legend button').click()")
    browser.run("document.getElementById('save').click()")
    for _ in range(50):
        if (tmp_path / "selected.csv").exists():
            break
        settled(browser, "1")
    table = pd.read_csv(tmp_path / "selected.csv")
    assert (table["label"] == 0).all()
    assert len(table) == browser.run("aekit.map.chosen.size")


def test_a_model_that_is_told_the_class_is_told_the_chosen_one(browser, aekit, tmp_path):
    options = ("--data", "digits", "--limit", 200, "--condition", "label", "--latent", 4, "--epochs", 2, "--threads", 1)
    assert aekit("train-vae", *options, "-o", tmp_path / "c.safetensors").exit_code == 0
    assert aekit("explore", tmp_path / "c.safetensors", "--threads", 1).exit_code == 0
    browser.open(tmp_path / "c.explore.html", idle="true")
    browser.run("aekit.jump(3)")
    own = settled(browser, "aekit.models[0].classes[aekit.state.label]")
    assert f"reconstruction as class {own}" in text(browser, "cards")
    assert "mean squared error" in text(browser, "cards")
    other = (int(own) + 1) % 10
    browser.run(f"(() => {{ const list = document.getElementById('class'); list.value = {other}; "
                "list.dispatchEvent(new Event('change')); })()")  # fmt: skip
    shown = text(browser, "cards")
    assert f"decoded as class {other}" in shown
    assert "mean squared error" not in shown  # that of the reconstruction, which this is not
    pixels = "document.querySelector('.card canvas').getContext('2d').getImageData(0, 0, 8, 8).data"
    painted = np.array(browser.run(f"[...{pixels}]")).reshape(64, 4)[:, 0] / 255
    model = package.load(tmp_path / "c.safetensors")
    z = torch.tensor([browser.run("[...aekit.state.codes[0]]")])
    truth = model.decode(z, label=torch.tensor([other])).flatten().numpy()
    np.testing.assert_allclose(painted, truth, atol=1.5 / 255)


def test_a_saved_code_is_decoded_by_the_command_to_the_image_shown(browser, aekit, checkpoints, tmp_path):
    page = tmp_path / "a.html"
    assert aekit("explore", checkpoints[0], "--threads", 1, "-o", page).exit_code == 0
    browser.open(page, idle="true")
    browser.run("aekit.jump(9)")
    settled(browser, "1")
    (tmp_path / "code.csv").write_text(browser.run("aekit.toCsv(aekit.codeTable(0))"))
    result = aekit("decode", checkpoints[0], tmp_path / "code.csv", "-o", tmp_path / "image.npy")
    assert result.exit_code == 0, result.stderr
    pixels = "document.querySelector('.card canvas').getContext('2d').getImageData(0, 0, 8, 8).data"
    painted = np.array(browser.run(f"[...{pixels}]")).reshape(64, 4)[:, 0] / 255
    np.testing.assert_allclose(painted, np.load(tmp_path / "image.npy").ravel(), atol=1.5 / 255)


def test_a_number_beyond_a_slider_is_taken_and_marked(browser, page):
    browser.open(page, idle="true")
    browser.run("(() => { const field = document.querySelector('#sliders input[type=number]'); field.value = 9; "
                "field.dispatchEvent(new Event('change')); })()")  # fmt: skip
    j = browser.run("aekit.models[0].order[0]")
    assert shown_codes(browser)[0][j] == pytest.approx(9)
    assert "beyond" in settled(browser, "document.querySelector('#sliders input[type=number]').className")


def test_colour_images_are_on_the_page_as_they_are(browser, aekit, tmp_path):
    options = ("--data", "shapes-colour", "--limit", 60, "--image-size", 16, "--epochs", 1, "--threads", 1)
    assert aekit("train-ae", *options, "-o", tmp_path / "x.safetensors").exit_code == 0
    assert aekit("explore", tmp_path / "x.safetensors", "--threads", 1).exit_code == 0
    browser.open(tmp_path / "x.explore.html", idle="true")
    script = """new Promise((done) => { const facts = JSON.parse(document.getElementById('facts').textContent);
        const image = new Image(); image.onload = () => { const canvas = document.createElement('canvas');
        canvas.width = image.width; canvas.height = image.height; const pen = canvas.getContext('2d');
        pen.drawImage(image, 0, 0); done([...pen.getImageData(0, 0, 16, 16).data]); };
        image.src = facts.sheets[0]; })"""
    found = np.array(browser.run(script)).reshape(16, 16, 4)[:, :, :3]
    session = package.open_session(tmp_path / "x.safetensors", threads=1)
    images = session.studied(next(session.checkpoints()), "test")
    assert np.array_equal(found, images.take(np.array([0]))[0].transpose(1, 2, 0))
