"""The figures of the DRAW paper, each a function that makes its files from weights that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drawnet.cli.figure_desk import Desk, Made
from drawnet.cli.pictures import generator_for, some_test_images

NUM_ROWS = 8  # of a drawing sequence
NUM_SAMPLES = {1: 64, 3: 36}  # shown, by channels: colour does not compress
NUM_COMPARED = 500  # samples, and as many test images, whose nearest training images are looked up
NUM_COUNTED = 1000  # drawings of two digits
NUM_ANIMATED = 9
NUM_READ = 6


def sequence_with_attention(desk: Desk) -> Made:
    """Figure 1: MNIST digits drawn step by step."""
    from drawnet.figures.sequence import drawing_sequence
    from drawnet.files import save_picture

    weights = desk.weights("mnist", "mnist-quick")
    model, path = desk.model(weights), desk.out / "figure-1.png"
    save_picture(drawing_sequence(model.sample(NUM_ROWS, generator=generator_for(model, desk.seed))), path)
    return Made((path,), weights.note)


def three_patches(desk: Desk) -> Made:
    """Figure 3: patches of small and large stride and sigma, of the first three among MNIST's training images."""
    import torch

    from drawnet.data import load_dataset
    from drawnet.figures.zoom import patches_sheet
    from drawnet.files import save_picture
    from drawnet.nn.attention import Window

    image = load_dataset("mnist").train.intensities(torch.tensor([7]))[0]
    center, stride, sigma, gamma = map(torch.tensor, ([14.5] * 3, [0.9, 2.2, 2.2], [1.6, 0.5, 2.2], [1.0] * 3))
    path = desk.out / "figure-3.png"
    save_picture(patches_sheet(image, Window(center, center, stride, sigma, gamma, grid_size=12)), path)
    return Made((path,), "of an MNIST digit")


def zooming(desk: Desk) -> Made:
    """Figure 4: `drawnet zoom` with its defaults on a generated picture."""
    from drawnet.cli.zoom import ZoomOptions, windows_from
    from drawnet.figures.scene import house_by_the_hills
    from drawnet.figures.zoom import zoom_sheet
    from drawnet.files import save_picture

    image, path = house_by_the_hills(), desk.out / "figure-4.png"
    save_picture(zoom_sheet(image, windows_from(ZoomOptions(Path()), *image.shape[1:])), path)
    return Made((path,), "of a generated picture")


def glimpses(desk: Desk) -> Made:
    """Figure 5: a classifier's rectangles walking to the digit."""
    from drawnet.data.cluttered_mnist import load_cluttered_mnist
    from drawnet.evaluate import spread_indices
    from drawnet.figures.glimpses import glimpse_sheet
    from drawnet.files import save_picture

    weights = desk.weights("cluttered-100-glimpses-8", "cluttered-100-glimpses-4")
    model, path = weights.checkpoint.load_classifier().to(desk.device), desk.out / "figure-5.png"
    test = load_cluttered_mnist(weights.dataset).test
    batch = test.batch(spread_indices(NUM_ROWS, len(test)))
    save_picture(glimpse_sheet(batch.images, model.look(batch.images.to(desk.device)), batch.labels), path)
    return Made((path,), weights.note)


def mnist_samples(desk: Desk) -> Made:
    """Figure 6: MNIST samples, the nearest training images, and how near they are."""
    return _samples(desk, "figure-6", "mnist", "mnist-quick")


def sequences_with_and_without(desk: Desk) -> Made:
    """Figures 1 and 7: the same number of steps with and without attention."""
    from drawnet.figures.sequence import sequences_beside
    from drawnet.files import save_picture

    without, with_attention = desk.weights("mnist-no-attention"), desk.weights("mnist", "mnist-quick")
    models = {
        "with attention": desk.model(with_attention),
        "without attention": desk.model(without),
    }
    path = desk.out / "figure-7.png"
    drawings = {
        name: model.sample(NUM_ROWS // 2, generator=generator_for(model, desk.seed)) for name, model in models.items()
    }
    save_picture(sequences_beside(drawings), path)
    return Made((path,), f"{without.note} and {with_attention.note}")


def two_digits(desk: Desk) -> Made:
    """Figure 8: two digits, and how often one is finished before the other."""
    from drawnet.figures.sequence import drawing_sequence
    from drawnet.files import save_picture, write_json
    from drawnet.stroke_order import count_sequential

    weights = desk.weights("mnist-two-digits")
    model = desk.model(weights)
    path, path_json = desk.out / "figure-8.png", desk.out / "figure-8.json"
    save_picture(drawing_sequence(model.sample(NUM_ROWS, generator=generator_for(model, desk.seed))), path)
    count = count_sequential(model, NUM_COUNTED, generator=generator_for(model, desk.seed))
    content = {
        "model": weights.name,
        **vars(count),
        "share": count.share if count.num_two_places else None,
        "standard_error": count.standard_error if count.num_two_places else None,
        "shuffled": count.shuffled if count.num_two_places else None,
        "seed": desk.seed,
        "command": desk.command,
    }
    write_json(path_json, content)
    return Made((path, path_json), f"{weights.note}; {count}")


def svhn_samples(desk: Desk) -> Made:
    """Figure 9: SVHN samples."""
    return _samples(desk, "figure-9", "svhn")


def svhn_sequences(desk: Desk) -> Made:
    """Figure 10: house numbers drawn step by step; and read, with both windows.

    What is read are the network's own drawings, and test images where those may be shown.
    """
    from drawnet.figures.sequence import drawing_sequence, reconstruction_sheet
    from drawnet.files import save_picture

    weights = desk.weights("svhn")
    model = desk.model(weights)
    generator = generator_for(model, desk.seed)
    path, path_reading = desk.out / "figure-10.png", desk.out / "figure-10-reading.png"
    frames = list(model.sample(NUM_ROWS // 2, generator=generator))
    save_picture(drawing_sequence(frames), path)
    x, what = frames[-1].canvas, "its own drawings"
    if desk.may_show(weights) and (dataset := desk.dataset(weights)) is not None:
        x, what = some_test_images(dataset, len(x), desk.seed).to(x.device), "test images"
    save_picture(reconstruction_sheet(x, model.reconstruct(x, generator=generator)), path_reading)
    return Made((path, path_reading), f"{weights.note}; it reads {what}")


def curves(desk: Desk) -> Made:
    """Figure 11: nats while training."""
    from drawnet.figures.curves import read_metrics, training_curves

    weights = desk.weights("svhn", "mnist", "mnist-quick")
    path = desk.out / "figure-11.png"
    training_curves(read_metrics(weights.metrics), path)
    return Made((path,), weights.note)


def cifar10_samples(desk: Desk) -> Made:
    """Figure 12: CIFAR-10 samples, the nearest training images, and how near they are."""
    return _samples(desk, "figure-12", "cifar10")


def video(desk: Desk) -> Made:
    """The paper's video: digits being drawn; and digits being read and drawn again."""
    from drawnet.figures.animation import save_animation, save_reading_animation

    weights = desk.weights("mnist", "mnist-quick")
    model = desk.model(weights)
    generator = generator_for(model, desk.seed)
    names = ("drawing.gif", "drawing.webp", "reading.gif", "reading.webp")
    gif, webp, reading_gif, reading_webp = (desk.out / name for name in names)
    save_animation(model.sample(NUM_ANIMATED, generator=generator), gif, webp)
    if (dataset := desk.dataset(weights)) is None:
        return Made((gif, webp), f"{weights.note}; without reading, data set {weights.dataset} is not there")
    x = some_test_images(dataset, NUM_READ, desk.seed).to(generator.device)
    save_reading_animation(x, model.reconstruct(x, generator=generator), reading_gif, reading_webp)
    return Made((gif, webp, reading_gif, reading_webp), weights.note)


FIGURES: dict[str, Callable[[Desk], Made]] = {
    "1": sequence_with_attention,
    "3": three_patches,
    "4": zooming,
    "5": glimpses,
    "6": mnist_samples,
    "7": sequences_with_and_without,
    "8": two_digits,
    "9": svhn_samples,
    "10": svhn_sequences,
    "11": curves,
    "12": cifar10_samples,
    "video": video,
}


def _samples(desk: Desk, name: str, *names: str) -> Made:
    """A grid, beside the nearest training images where they may be shown; their distances, as a plot and as JSON."""
    import torch

    from drawnet.figures.neighbours import distance_histogram, distance_summary, neighbour_distances
    from drawnet.figures.samples import nearest_images, sample_grid
    from drawnet.files import save_picture, write_json

    weights = desk.weights(*names)
    model, note = desk.model(weights), weights.note
    *_, last = model.sample(NUM_COMPARED, generator=generator_for(model, desk.seed))
    images = last.canvas.cpu()
    shown = images[: NUM_SAMPLES[images.shape[1]]]
    grid, plot, numbers = (desk.out / f"{name}{rest}" for rest in (".png", "-distances.png", "-distances.json"))
    dataset, neighbours = desk.dataset(weights), None
    if dataset is not None and desk.may_show(weights):
        neighbours = dataset.train.intensities(nearest_images(shown, dataset.train)[0])
    save_picture(sample_grid(shown, neighbours), grid)
    if dataset is None:
        return Made((grid,), f"{note}; no nearest images, data set {weights.dataset} is not there")
    distances = neighbour_distances(images, dataset, generator=torch.Generator().manual_seed(desk.seed))
    summary = distance_summary(distances)
    distance_histogram(distances, plot)
    content = {"model": weights.name, "dataset": dataset.name, "distances": summary}
    write_json(numbers, {**content, "seed": desk.seed, "command": desk.command})
    medians = ", ".join(f"{group} {row['0.5']:.2f}" for group, row in summary.items())
    hidden = "" if neighbours is not None else "; neighbours left out (see --with-neighbours)"
    return Made((grid, plot, numbers), f"{note}; median distance to the nearest training image: {medians}{hidden}")
