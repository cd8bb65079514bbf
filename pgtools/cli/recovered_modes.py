"""`pgtools recovered-modes`: how many of stacked MNIST's 1,000 modes a generator hits, and how evenly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import SOURCE, device_option, json_option, settings_options
from pgtools.cli._output import say
from pgtools.cli._results import print_result
from pgtools.cli._sources import open_images, open_real
from pgtools.errors import InputError, UsageError
from pgtools.metrics.modes.settings import PAPER_IMAGES, DigitTraining, RecoveredModesSettings

if TYPE_CHECKING:
    import torch

    from pgtools.metrics.modes.classifier import Classifier
    from pgtools.runtime.results import MetricResult
    from pgtools.stores.source import ImageSource

# MNIST itself lets a small network reach 99 %.
GOOD_ACCURACY = 0.98


@click.command("recovered-modes", short_help="Count the modes of stacked MNIST that a generator hits.")
@click.argument("fake", type=SOURCE)
@click.option("--classifier", "file", type=SOURCE, metavar="FILE", help="The digit classifier, .safetensors.")
@click.option("--train-on", type=SOURCE, metavar="MNIST", help="Train the classifier on these digits first.")
@click.option(
    "--epochs",
    type=int,
    help=f"With --train-on: times that every digit is seen.  [default: {DigitTraining().epochs}]",
)
@click.option("--real", type=SOURCE, help="Real images, by whose classes KL is measured; else all are equally likely.")
@settings_options(RecoveredModesSettings)
@device_option
@json_option
def command(
    fake: Path,
    file: Path | None,
    train_on: Path | None,
    epochs: int | None,
    real: Path | None,
    chosen: dict[str, Any],
    device: str,
    as_json: bool,
) -> None:
    """Print how many of stacked MNIST's 1,000 modes the images FAKE hit, and KL(model ‖ data) in nats.

    A classifier names the digit in red, green and blue of each image of 32² (larger ones are lowered to that). FAKE
    is a training run, a snapshot, a folder, a ZIP or a store. The figures depend on the number of images: KL of a
    perfect generator is not 0 but the floor. --train-on takes the folder of MNIST's IDX files, or a labelled store of
    grey digits, and keeps the classifier as --classifier says. The real images' classes are their labels, if these
    are of 1,000 classes, else what the classifier says.

    \b
    Example:
      pgtools recovered-modes runs/stacked --train-on mnist/ --classifier digits.safetensors
      pgtools recovered-modes runs/stacked --classifier digits.safetensors --repeats 1
    """
    from pgtools.metrics.modes.collect import check_images
    from pgtools.runtime.device import resolve_device

    if epochs is not None and train_on is None:
        raise UsageError("--epochs is of --train-on.", hint="Leave it out, or pass --train-on MNIST.")
    settings, where = RecoveredModesSettings(**chosen), resolve_device(device)
    training = DigitTraining(seed=settings.seed, **({} if epochs is None else {"epochs": epochs}))
    images = _open(fake, settings, device)
    reals = None if real is None else open_real(real)
    for source in (images, reals):
        if source is not None:
            check_images(source)
    classifier = _classifier(file, train_on, training, where)
    print_result(_measured(images, reals, classifier, settings, where), as_json=as_json)


def _measured(
    images: ImageSource,
    reals: ImageSource | None,
    classifier: Classifier,
    settings: RecoveredModesSettings,
    where: torch.device,
) -> MetricResult:
    """Return the result of as many whole sets as the images make."""
    from pgtools.metrics.evaluate import Evaluator, Reading
    from pgtools.metrics.modes.data import classes_of
    from pgtools.metrics.modes.measure import RecoveredModesMeasure

    each = _images_each(images, settings)
    sets = min(settings.repeats, len(images) // each)
    measure = RecoveredModesMeasure(settings, classifier, sets)  # refuses a classifier that is too poor
    if sets < settings.repeats:
        made = "one set" if sets == 1 else f"{sets} sets of {each}"
        say(f"{images.name}: {len(images)} images make {made}; {settings.repeats} were asked for.")
    if reals is not None:
        data = classes_of(reals, classifier, where, batch=settings.batch, progress=True)
        measure = RecoveredModesMeasure(settings, classifier, sets, data)
    reading = Reading(sets * each, settings.seed, settings.batch)
    with Evaluator([measure], None, reading, where, progress=True) as evaluator:
        (result,) = evaluator.score(images)
    return result


def _images_each(images: ImageSource, settings: RecoveredModesSettings) -> int:
    """Return how many images a set has: what is asked for, else the paper's number, or all if there are fewer."""
    return settings.num_images or max(1, min(PAPER_IMAGES, len(images)))


def _open(fake: Path, settings: RecoveredModesSettings, device: str) -> ImageSource:
    """Return the images, enough for one set at least."""
    wanted = settings.num_images or PAPER_IMAGES
    images = open_images(fake, count=wanted * settings.repeats, seed=settings.seed, device=device)
    each = _images_each(images, settings)
    if len(images) < each:
        raise InputError(
            f"{fake} has {len(images)} images; --num-images is {each}.", hint=f"Pass --num-images {len(images)}."
        )
    return images


def _classifier(file: Path | None, train_on: Path | None, training: DigitTraining, where: torch.device) -> Classifier:
    """Return the classifier, and say how good it is."""
    from pgtools.metrics.modes.training import obtain_classifier

    classifier = obtain_classifier(file, train_on, training, where, progress=True)
    say(f"The classifier names {classifier.accuracy:.2%} of the digits held out from its training right.")
    if classifier.accuracy < GOOD_ACCURACY:
        say("That is little: a wrong digit is a wrong mode. Train it longer, or on more digits.")
    return classifier
