"""Which faces become crops, and why one does not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtools.celebahq.cropping.crop import crop_quad, side_of
from pgtools.celebahq.faces import Face, Limits, choose, fault, outside, turn_of
from tests.pictures import ASTRONAUT_POINTS

SIZE = (512, 512)
OFF = Limits(min_face=0)


def face(left: float, top: float, right: float, bottom: float) -> Face:
    return Face(ASTRONAUT_POINTS, np.array([left, top, right, bottom], dtype=np.float64), 0.9)


SMALL_IN_THE_MIDDLE, LARGE_AT_THE_SIDE = face(240, 240, 272, 272), face(0, 0, 100, 120)
FACES = [SMALL_IN_THE_MIDDLE, LARGE_AT_THE_SIDE]


def test_choices() -> None:
    assert choose(FACES, "largest", SIZE) == [LARGE_AT_THE_SIDE]
    assert choose(FACES, "centre", SIZE) == [SMALL_IN_THE_MIDDLE]
    assert choose(FACES, "all", SIZE) == [LARGE_AT_THE_SIDE, SMALL_IN_THE_MIDDLE]


@pytest.mark.parametrize("how", ["largest", "centre", "all"])
def test_a_photo_without_faces_gives_none(how) -> None:
    assert choose([], how, SIZE) == []


@given(st.permutations(range(4)), st.sampled_from(["largest", "centre", "all"]))
def test_the_choice_does_not_depend_on_the_detectors_order(order, how) -> None:
    """Four boxes of one size, all as far from the middle: top to bottom, then left to right."""
    boxes = [face(x, y, x + 10, y + 10) for y in (100, 402) for x in (100, 402)]
    expected = boxes if how == "all" else boxes[:1]
    assert choose([boxes[i] for i in order], how, SIZE) == expected


def test_of_two_in_the_middle_the_larger_is_chosen() -> None:
    inner, outer = face(250, 250, 262, 262), face(200, 200, 312, 312)
    assert choose([inner, outer], "centre", SIZE) == [outer]


def test_the_middle_is_the_photos_own() -> None:
    """A wide photo: its middle is at (width / 2, height / 2), not the other way round."""
    right, left = face(490, 90, 510, 110), face(90, 490, 110, 510)
    assert choose([left, right], "centre", (1000, 200)) == [right]


def turned(yaw: float, *, pitch: float = 0, roll: float = 0, nose: float = 0.45, mouth: float = 0.0) -> np.ndarray:
    """A head of eyes 100 apart seen from afar: turned about its own vertical, then nodding, then leaning.

    In space x is right, y down, z towards the camera; `nose` and `mouth` are how far they stand before the eyes.
    """
    head = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, nose], [-0.4, 1.1, mouth], [0.4, 1.1, mouth]]) * 100
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return (head @ (about_z @ about_x @ about_y).T)[:, :2] + 250


@given(st.floats(-85, 85), st.floats(-40, 40), st.floats(-180, 180))
def test_turn_of_the_models_own_head_is_exact(yaw, pitch, roll) -> None:
    """Neither nodding nor leaning changes it."""
    assert turn_of(turned(yaw, pitch=pitch, roll=roll)) == pytest.approx(yaw, abs=1e-6)


@pytest.mark.parametrize("nose", [0.36, 0.45, 0.54])
@pytest.mark.parametrize("mouth", [-0.1, 0.1])
@pytest.mark.parametrize("pitch", [-20, 0, 20])
def test_turn_of_other_heads_is_about_right(nose, mouth, pitch) -> None:
    """Noses a fifth shorter or longer, mouths further back or forward: within 13° up to 60°, and always growing."""
    yaws = np.arange(0, 61, 5)
    found = np.array([turn_of(turned(yaw, pitch=pitch, nose=nose, mouth=mouth)) for yaw in yaws])
    assert (np.diff(found) > 0).all()
    assert np.abs(found - yaws).max() < 13
    assert np.abs(found - yaws)[-1] > 1e-3, "the head differs from the model, so it cannot be exact"


def test_turn_is_mirrored_with_the_picture() -> None:
    points = turned(25, pitch=10, roll=5, nose=0.5)
    mirrored = (points * [-1, 1] + [500, 0])[[1, 0, 2, 4, 3]]
    assert turn_of(points) > 20
    assert turn_of(mirrored) == pytest.approx(-turn_of(points))


def test_turn_without_a_vertical() -> None:
    """Seen from the crown the eyes' own line says it; in one point nothing does."""
    points = np.array([[-50, 0], [50, 0], [20, 0], [-40, 0], [40, 0]], dtype=float)
    assert turn_of(points) == pytest.approx(math.degrees(math.atan2(20 / 0.45, 100)))
    assert turn_of(np.zeros((5, 2))) == 0


def test_outside_known_answers() -> None:
    square = np.array([[0, 0], [0, 100], [100, 100], [100, 0]], dtype=np.float64)
    assert outside(square, (100, 100)) == 0
    assert outside(square + np.array([50, 0]), (100, 100)) == pytest.approx(0.5)
    assert outside(square + np.array([-75, 25]), (100, 100)) == pytest.approx(1 - 0.25 * 0.75)
    assert outside(square + np.array([500, 0]), (100, 100)) == 1
    diamond = np.array([[50, -50], [-50, 50], [50, 150], [150, 50]], dtype=np.float64)  # the photo is inscribed
    assert outside(diamond, (100, 100)) == pytest.approx(0.5)


def test_outside_is_never_negative() -> None:
    """A corner 2e-11 pixels beyond the border: 1 - area / area came out as -2e-16."""
    left_corners = [[46.040574663703225, 0.0], [-1.7216450487467228e-11, 38.84350215928684]]
    right_corners = [[38.84350215926963, 84.88407682300729], [84.88407682299007, 46.04057466372045]]
    assert outside(np.array(left_corners + right_corners), (1000, 1000)) == 0


@given(
    st.tuples(st.floats(-300, 600), st.floats(-300, 600)),
    st.floats(0, 2 * math.pi),
    st.floats(1, 500),
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
)
def test_outside_agrees_with_counting_points(middle, angle, half, size) -> None:
    """Reference: 100 × 100 points of the square, counted."""
    x = np.array([math.cos(angle), math.sin(angle)]) * half
    y = np.array([-x[1], x[0]])
    quad = np.array(middle) + np.stack([-x - y, -x + y, x + y, x - y])
    steps = (np.arange(100) + 0.5) / 100
    grid = quad[0] + steps[:, None, None] * (quad[3] - quad[0]) + steps[None, :, None] * (quad[1] - quad[0])
    counted = ((grid >= 0) & (grid <= size)).all(axis=2).mean()
    share = outside(quad, size)
    assert share == pytest.approx(1 - counted, abs=0.03)
    assert 0 <= share <= 1


def test_a_good_face_has_no_fault() -> None:
    assert fault(ASTRONAUT_POINTS, SIZE, Limits()) is None


@given(st.floats(-180, 180), st.floats(-80, 80))
def test_the_defaults_let_every_turned_face_through(roll, yaw) -> None:
    assert fault(turned(yaw, roll=roll), SIZE, Limits()) is None


def test_the_defaults_let_cut_faces_and_profiles_through() -> None:
    assert fault(ASTRONAUT_POINTS - [230, 0], SIZE, Limits()) is None
    assert fault(turned(89), SIZE, Limits()) is None
    assert fault(turned(97), SIZE, Limits()) is None, "an annotator's pixel past the profile is no swap"


@pytest.mark.parametrize(
    ("points", "limits", "reason"),
    [
        (ASTRONAUT_POINTS * 0.04, Limits(), "face is small (its square is 7.2 pixels; --min-face is 8)"),
        (turned(40), Limits(max_turn=30), "face is turned (by about 40 degrees; --max-turn is 30)"),
        (turned(-40), Limits(max_turn=30), "face is turned (by about 40 degrees; --max-turn is 30)"),
        (
            ASTRONAUT_POINTS - [225, 0],
            Limits(max_outside=0.25),
            "face is cut off (0.5 of its square is outside; --max-outside is 0.25)",
        ),
        (ASTRONAUT_POINTS * [-1, 1] + [500, 0], OFF, "landmarks are mirrored"),
        (ASTRONAUT_POINTS[[1, 0, 2, 3, 4]], OFF, "landmarks are mirrored"),
        (np.full((5, 2), 7.0), OFF, "landmarks coincide and define no crop square"),
        (ASTRONAUT_POINTS * math.nan, OFF, "landmarks are no places in a picture"),
        (ASTRONAUT_POINTS * 1e300, OFF, "landmarks are no places in a picture"),
    ],
)
def test_faults(points, limits, reason) -> None:
    found = fault(points, SIZE, limits)
    assert found is not None
    assert found.split(" (")[0] == reason.split(" (")[0]
    if " (" in reason:
        assert found == reason


def test_limits_are_inclusive_and_numbers_show_the_fault() -> None:
    side = side_of(crop_quad(ASTRONAUT_POINTS))
    assert fault(ASTRONAUT_POINTS, SIZE, Limits(min_face=side)) is None
    assert "179.9 pixels; --min-face is 180)" in str(fault(ASTRONAUT_POINTS * 179.99 / side, SIZE, Limits(180)))
    assert fault(turned(30), SIZE, Limits(max_turn=30.001)) is None
    assert "by about 31 degrees" in str(fault(turned(30.1), SIZE, Limits(max_turn=30)))
