import pytest

from training.evaluation.evaluate import HEADINGS
from training.evaluation.scatter import plot_metrics

PSNR, SSIM, FLIP, LPIPS = (HEADINGS[key] for key in ("psnr_y_db", "ssim_y", "flip", "lpips_sq"))


def make_rows(*keys):
    """Return figures of two outputs on three pictures, which fall from metric to metric."""
    return [
        (output, {key: (10 * shift + picture) * (-1) ** i for i, key in enumerate(keys)})
        for shift, output in enumerate(("bicubic", "srgan"))
        for picture in range(3)
    ]


def test_each_panel_has_a_dot_per_picture_and_output_and_the_correlation():
    figure = plot_metrics(make_rows("psnr_y_db", "ssim_y", "flip", "lpips_sq"), HEADINGS)
    shown = {(axes.get_xlabel(), axes.get_ylabel()): axes for axes in figure.axes}
    assert shown.keys() == {(PSNR, LPIPS), (PSNR, FLIP), (SSIM, FLIP), (FLIP, LPIPS)}
    for axes in shown.values():
        assert [dots.get_label() for dots in axes.collections] == ["bicubic", "srgan"]
        assert [len(dots.get_offsets()) for dots in axes.collections] == [3, 3]
    assert shown[PSNR, FLIP].get_title() == "rank correlation 1.00"
    assert shown[PSNR, LPIPS].get_title() == "rank correlation -1.00"


@pytest.mark.parametrize("rows", [make_rows("psnr_y_db", "ssim_y", "flip")[:2]])
def test_metrics_that_were_not_measured_and_too_few_dots_are_left_out(rows):
    shown = [axes for axes in plot_metrics(rows, HEADINGS).axes if axes.axison]
    assert [axes.get_xlabel() for axes in shown] == [PSNR, SSIM]
    assert [axes.get_title() for axes in shown] == ["", ""]
