"""`drawnet complete` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.checkpoint import find_checkpoint
from drawnet.cli import main
from drawnet.cli.complete import hidden_pixels, how_exact
from drawnet.cli.pictures import some_test_images
from drawnet.data import load_dataset
from drawnet.figures.completion import HIDDEN_COLOUR
from drawnet.figures.drawing import to_pictures
from drawnet.figures.sheet import arrange
from drawnet.models.draw import Draw, DrawConfig
from drawnet.models.multiscale import MultiScale, MultiScaleConfig
from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig
from drawnet.models.registry import ModelConfig
from drawnet.models.vae import VAE, VAEConfig
from drawnet.presets import RunConfig
from drawnet.run import run
from drawnet.train import TrainingConfig
from test_cli import fails
from toy import bars

PIXELCNN = PixelCNNConfig(8, 8, num_layers=1, hidden_size=4, head_size=4)
SIDE = 112  # picture pixels of a cell: 14 an image pixel
EXACT = "exact samples: every hidden pixel comes after every known one in raster order"
APPROXIMATE = "approximate: hidden pixels do not know of the known ones after them in raster order"


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One update each on bars.npz: pixelcnn and vae."""
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "bars.npz", x=bars(40, 0).images.bool().numpy())
    dataset = load_dataset(str(folder / "bars.npz"))
    models: dict[str, ModelConfig] = {"pixelcnn": PIXELCNN, "vae": VAEConfig(8, 8, hidden_size=4, latent_size=2)}
    for name, model in models.items():
        config = RunConfig(dataset.name, model=model, training=TrainingConfig(epochs=1, num_validations=0))
        for _ in run(config, dataset, folder / name):
            pass
    return folder


def cells(count: int = 1, completions: int = 1, folder: str = "pictures") -> list[list[np.ndarray]]:
    """The sheet cut back into `[image][given, completions..., original]`."""
    page = np.asarray(Image.open(Path(folder) / "completion.png"))
    sheet = arrange(count, completions + 2, SIDE, SIDE, last_column_apart=True)
    assert page.shape[:2] == sheet.size[::-1]
    return [[page[top : top + SIDE, left : left + SIDE] for left in sheet.left] for top in sheet.top]


def save_mask(hidden: np.ndarray, path: str = "mask.png", mode: str = "L") -> str:
    Image.fromarray(np.where(hidden, 255, 0).astype(np.uint8)).convert(mode).save(path)
    return path


def large(hidden: np.ndarray) -> np.ndarray:
    return hidden.repeat(14, 0).repeat(14, 1)


@pytest.mark.parametrize(
    ("hide", "hidden"),
    [
        ("bottom", ["....", "....", "....", "####", "####"]),
        ("top", ["####", "####", "....", "....", "...."]),
        ("left", ["#..", "#..", "#.."]),
        ("left", ["##...", "##..."]),
        ("right", ["...##", "...##"]),
        ("right", ["..##"]),
        ("bottom", [".", "#"]),
        ("bottom", ["..."]),
    ],
)
def test_halves_leave_the_middle_row_or_column_known(hide: str, hidden: list[str]) -> None:
    model = PixelCNN(PixelCNNConfig(len(hidden), len(hidden[0]), num_layers=1, hidden_size=2, head_size=2))
    found = ["".join(".#"[bit] for bit in row) for row in hidden_pixels(hide, model).int().tolist()]
    assert found == hidden


@pytest.mark.parametrize("hide", ["bottom", "top", "left", "right", "mask.png"])
def test_known_pixels_stay_and_the_sheet_shows_the_hidden_ones(hide: str, trained: Path) -> None:
    if hide == "mask.png":
        save_mask(np.random.default_rng(0).random((8, 8)) < 0.5, mode="RGB")
    command = ["complete", str(trained / "pixelcnn"), "--hide", hide, "--count", "2", "--completions", "3"]
    assert main(command) == 0
    checkpoint = find_checkpoint(str(trained / "pixelcnn"))
    model = checkpoint.load_model()
    x = some_test_images(load_dataset(checkpoint.config.dataset), 2, 0)
    known = ~hidden_pixels(hide, model)
    hidden = large(~known.numpy())
    drawn = []
    for (given, *completions, original), expected in zip(cells(2, 3), to_pictures(x, 14), strict=True):
        np.testing.assert_array_equal(original, expected)
        np.testing.assert_array_equal(given[~hidden], expected[~hidden])
        assert (given[hidden] == HIDDEN_COLOUR).all()
        for completion in completions:
            np.testing.assert_array_equal(completion[~hidden], expected[~hidden])
            drawn.append(completion[hidden].tobytes())
    assert len(set(drawn)) == 6  # different draws, not one repeated


def test_the_same_seed_gives_the_same_bytes_and_files_are_named(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["complete", str(trained / "pixelcnn"), "--seed", seed, "--out", out, "--count", "2"]) == 0
    first = capsys.readouterr().out.splitlines()[:4]
    assert first == [EXACT, *(str(Path("a", f"completion.{suffix}")) for suffix in ("png", "gif", "webp"))]
    for path in map(Path, first[1:]):
        a, b, c = (Path(out, path.name).read_bytes() for out in "abc")
        assert a == b != c
    assert getattr(Image.open("a/completion.gif"), "n_frames", 1) > 1


def test_a_picture_of_ones_own(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.random.default_rng(1).random((8, 8)) < 0.5
    save_mask(picture, "mine.png", mode="1")
    mask = save_mask(np.eye(8) > 0)
    assert main(["complete", str(trained / "pixelcnn"), "--image", "mine.png", "--hide", mask]) == 0
    assert capsys.readouterr().out.startswith(APPROXIMATE)
    (row,) = cells(1, 6)
    np.testing.assert_array_equal(row[-1][..., 0], large(np.where(picture, 255, 0)))


@pytest.mark.parametrize("name", ["pixelcnn", "vae"])
def test_if_all_is_known_the_completions_are_the_image(
    name: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = save_mask(np.zeros((8, 8), bool))
    assert main(["complete", str(trained / name), "--hide", mask, "--count", "2", "--completions", "2"]) == 0
    assert capsys.readouterr().out.startswith("every pixel is known: the completions are the image\n")
    for given, first, second, original in cells(2, 2):
        np.testing.assert_array_equal(given, original)
        np.testing.assert_array_equal(first, original)
        np.testing.assert_array_equal(second, original)


def test_a_model_with_latents_reads_grey_values_and_keeps_the_known(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)).save("grey.png")
    assert (
        main(["complete", str(trained / "vae"), "--image", "grey.png", "--hide", "right", "--completions", "1"]) == 0
    )
    assert capsys.readouterr().out.startswith("approximate: 50 rounds of inference and imputation\n")
    ((_, completion, original),) = cells()
    np.testing.assert_array_equal(completion[:, : SIDE // 2], original[:, : SIDE // 2])
    assert (completion != original).any()
    assert original[0, 14, 0] == 4


def test_what_is_exact_is_said_to_be() -> None:
    pixelcnn = PixelCNN(PIXELCNN)
    multiscale = MultiScale(
        MultiScaleConfig(height=8, width=8, num_layers=1, small_num_layers=1, hidden_size=2, small_hidden_size=2)
    )
    latents = [
        VAE(VAEConfig(8, 8, hidden_size=2, latent_size=2)),
        Draw(DrawConfig(8, 8, 1, num_glimpses=2, hidden_size=2, latent_size=2)),
    ]
    last_only, nothing_known = torch.ones(8, 8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
    last_only[7, 3:] = False
    bottom, top, left = (~hidden_pixels(half, pixelcnn) for half in ("bottom", "top", "left"))
    assert [how_exact(pixelcnn, known) for known in (bottom, last_only, nothing_known)] == [EXACT] * 3
    assert [how_exact(pixelcnn, known) for known in (top, left)] == [APPROXIMATE] * 2
    # The small image's last rows are drawn before the large image's known pixels are looked at.
    assert how_exact(multiscale, nothing_known) == EXACT
    for known in (bottom, top, left):
        assert how_exact(multiscale, known).startswith("approximate")
        for model in latents:
            assert how_exact(model, known).startswith("approximate: 50 rounds")


def test_wrong_masks_are_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["complete", str(trained / "pixelcnn"), "--hide"]
    assert "--hide is 'botom': it must be bottom, top, left, right or a picture" in fails(capsys, *command, "botom")
    assert "'gone.png'" in fails(capsys, *command, "gone.png")
    save_mask(np.zeros((6, 9), bool), "small.png")
    message = fails(capsys, *command, "small.png")
    assert "small.png is 6 x 9" in message
    assert "8 x 8" in message
    Image.fromarray(np.full((8, 8), 254, np.uint8)).save("grey.png")
    assert "grey.png is no mask" in fails(capsys, *command, "grey.png")
    red = np.zeros((8, 8, 3), np.uint8)
    red[0, 0, 0] = 255
    Image.fromarray(red).save("red.png")
    assert "red.png is no mask" in fails(capsys, *command, "red.png")
    Path("text.png").write_text("no picture")
    assert "text.png cannot be read as an image" in fails(capsys, *command, "text.png")
    assert not Path("pictures").exists()


def test_wrong_pictures_are_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["complete", str(trained / "pixelcnn"), "--image"]
    assert "gone.png" in fails(capsys, *command, "gone.png")
    Image.new("L", (9, 8)).save("wide.png")
    assert "wide.png is 8 x 9 (height x width): this model takes 8 x 8" in fails(capsys, *command, "wide.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save("red.png")
    assert "red.png is colour: this model takes grey images" in fails(capsys, *command, "red.png")
    Image.new("L", (8, 8), 51).save("grey.png")
    message = fails(capsys, *command, "grey.png")
    assert "grey.png" in message
    assert "0.2" in message
    assert "2 levels" in message
    # Where nothing is known, nothing is looked at.
    everything = save_mask(np.ones((8, 8), bool))
    assert main([*command, "grey.png", "--hide", everything, "--completions", "1"]) == 0
    assert capsys.readouterr().out.startswith(EXACT)


def test_wrong_numbers_are_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["complete", str(trained / "pixelcnn")]
    for count in ("0", "5", "-1"):
        message = fails(capsys, *command, "--count", count)
        assert f"--count is {count}" in message
        assert "1 to 4 test images" in message
    for completions in ("0", "-2"):
        assert f"--completions is {completions}" in fails(capsys, *command, "--completions", completions)
    assert "no model 'nothing'" in fails(capsys, "complete", "nothing")
    assert "MODEL" in fails(capsys, "complete")
    assert not Path("pictures").exists()


def test_training_images_that_are_gone_are_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = find_checkpoint(str(trained / "pixelcnn"))
    folder = Path("model")
    folder.mkdir()
    for file in checkpoint.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config).replace("bars.npz", "gone.npz"))
    assert "gone.npz" in fails(capsys, "complete", "model")
    save_mask(np.eye(8) > 0, "mine.png")
    assert main(["complete", "model", "--image", "mine.png", "--completions", "1"]) == 0


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["complete", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(flag in out for flag in ("--hide", "--image", "--count", "--completions", "--seed", "--out"))
