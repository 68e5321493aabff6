import io
import itertools

import numpy as np
import pytest
from PIL import Image

from aekit.brains.figures.scans import MAX_SCANS, ScanPicture, middle_slices, plot_scans


def test_slices_show_axial_coronal_and_sagittal_with_up_at_the_top():
    image = np.zeros((4, 6, 8), np.float32)
    image[2, 3, 7] = 1.0  # the top of the head, in the middle
    image[3, 3, 4] = 0.5  # far right
    slices = middle_slices(image)
    assert slices.shape == (8, 4 + 4 + 6 + 2)
    axial, coronal, sagittal = slices[:, :4], slices[:, 5:9], slices[:, 10:]
    assert coronal[7, 2] == sagittal[7, 3] == 1.0  # rows go upwards
    assert axial[1 + 3, 3] == 0.5
    assert coronal[4, 3] == 0.5
    assert slices.sum() == 3.0


@pytest.mark.parametrize("n", [1, 5, 40])
def test_at_most_24_scans_are_shown_each_with_its_name_and_reason(n):
    pictures = [
        ScanPicture(np.full((6, 6, 6), 0.5), f"sub-{number:02}", "blurred" * (number % 2)) for number in range(n)
    ]
    figure = plot_scans(pictures, title="scans")
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == min(n, MAX_SCANS)
    for number, axes in enumerate(drawn):
        lines = [line for line in axes.get_xlabel().split("\n") if line.strip()]
        assert lines == [f"sub-{number:02}", *(["blurred"] if number % 2 else [])]


def test_names_and_reasons_do_not_overlap_those_of_the_neighbours():
    reason = "cropped at the bottom, too wide from left to right"
    pictures = [ScanPicture(np.ones((48, 48, 48)), "sub-NDARABCDEFGHIJ_ses-baseline_run-01", reason)] * 8
    figure = plot_scans(pictures)
    figure.canvas.draw()
    boxes = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    for left, right in itertools.pairwise(boxes):
        assert left.x1 <= right.x0 or left.y0 >= right.y1
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width


@pytest.mark.slow
def test_the_file_stays_small_even_for_noise_on_a_fine_grid():
    random = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1.3, 1.3, 96)] * 3)
    inside = sum(axis**2 for axis in axes) < 1
    pictures = [
        ScanPicture(random.uniform(0, 1.2, inside.shape) * inside, f"sub-{number}", "noisy") for number in range(24)
    ]
    file = io.BytesIO()
    plot_scans(pictures).savefig(file, format="png", dpi="figure")
    assert file.tell() < 300_000
    file.seek(0)
    assert min(Image.open(file).size) > 500
