"""MS-SSIM: how varied the images of a set are (lower is more varied), or how near the images of two sets are.

Convention: five scales; an 11×11 Gaussian window of sigma 1.5, valid pixels only; where a scale is smaller than 11
the window shrinks with it, sigma too, so images from 16² up have a figure (other libraries refuse those under 161).
Colour channels are measured apart and averaged before the scales are multiplied.

A pair (a, b) is measured by its sum s = a + b and difference d = a − b, whose local variances say all:

    2·cov(a, b) = (var s − var d) / 2        contrast = (var s − var d + 2·C2) / (var s + var d + 2·C2)
    var a + var b = (var s + var d) / 2               = 1 − 2·var d / (var s + var d + 2·C2)

So four planes are blurred (s, d, s², d²) where the definition blurs five, and each 2×2 mean is of s and d alone.

In float64 throughout: a mean contrast x near 0, as of unlike images, counts as x^0.0448, whose slope has no bound
there. The same steps in float32 were off by more than 1e-6 for one pair of noise in forty, by 2e-5 for the worst of
2,400, and nothing bounds the next.

Source: Wang et al. 2003; Karras et al. 2018, section 5.
"""

from pgtools.metrics.msssim.pairs import draw_pairs, standard_error
from pgtools.metrics.msssim.score import ms_ssim

__all__ = ["draw_pairs", "ms_ssim", "standard_error"]
