import numpy as np
import pytest
import torch

from rhoflow.config import ImageModel
from rhoflow.models.augment import AUGMENTATIONS, LARGEST_TURN, full, orient, published, shift, turn
from rhoflow.models.backbones import image_backbone

CLOSE = 1e-5
SMOOTH = 0.03  # bilinear interpolation: sum of k^2 / 8 over both waves and directions is 0.025
IMAGES = torch.from_numpy(np.random.default_rng(3).uniform(-1, 1, (64, 8, 8)).astype(np.float32))
every_kind = pytest.mark.parametrize("kind", AUGMENTATIONS)


def still(images):
    """Periods of images that do not repeat."""
    return torch.zeros((len(images), 2, 2), dtype=torch.float64)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _operations(image):
    turned = [np.rot90(image, k) for k in range(4)]
    return [*turned, *(np.fliplr(one) for one in turned)]


def test_the_eight_orientations_are_those_of_the_square():
    image = IMAGES[0]
    ours = {orient(image, number).numpy().tobytes() for number in range(8)}
    assert ours == {np.ascontiguousarray(one).tobytes() for one in _operations(image.numpy())}
    assert len(ours) == 8


def test_full_draws_every_orientation_and_no_other():
    image = IMAGES[:1].expand(400, -1, -1)
    seen = [one.numpy().tobytes() for one in full(image, still(image), _generator())]
    counts = [seen.count(np.ascontiguousarray(one).tobytes()) for one in _operations(IMAGES[0].numpy())]
    assert sum(counts) == 400
    assert min(counts) > 25  # 50 expected, standard deviation 6.6


P = 96
HEXAGONAL = torch.tensor([[20.0, 0.0], [10.0, 17.32]], dtype=torch.float64)  # pixels, rows (x, y)


def _crystal(x, y):
    """Two waves with the periods of HEXAGONAL."""
    reciprocal = 2 * np.pi * np.linalg.inv(HEXAGONAL.numpy()).T
    waves = [g[0] * x + g[1] * y for g in (reciprocal[0], reciprocal[1] - reciprocal[0])]
    return np.cos(waves[0]) + np.sin(waves[1] + 0.4)


@pytest.mark.parametrize("shares", [(0.3, -0.45), (-0.5, 0.2), (0.5, 0.5), (0.0, 0.0)])
def test_shifted_image_is_the_crystal_seen_from_another_point(shares):
    x, y = np.meshgrid(np.arange(P) - (P - 1) / 2, (P - 1) / 2 - np.arange(P))
    image = torch.from_numpy(_crystal(x, y).astype(np.float32))
    dx, dy = np.round(np.array(shares) @ HEXAGONAL.numpy())
    shifted = shift(image[None], HEXAGONAL[None] / P, torch.tensor([shares]))[0].numpy()
    expected = _crystal(x + dx, y + dy)
    stays = (abs(x + dx) < P / 2) & (abs(y + dy) < P / 2)
    assert np.abs(shifted - expected)[stays].max() < CLOSE
    assert np.abs(shifted - expected).max() < 2 * SMOOTH
    assert shares == (0, 0) or np.abs(image.numpy() - expected).max() > 10 * SMOOTH


def test_every_plane_of_an_image_is_shifted_alike():
    planes = torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, (2, 3, P, P)).astype(np.float32))
    periods, shares = HEXAGONAL.expand(2, 2, 2) / P, torch.tensor([[0.2, 0.1], [-0.4, 0.3]])
    together = shift(planes, periods, shares)
    for k in range(3):
        np.testing.assert_array_equal(together[:, k], shift(planes[:, k], periods, shares))


@pytest.mark.parametrize("periods", [torch.zeros(2, 2), 1.5 * torch.eye(2)], ids=["none", "longer than the window"])
def test_image_without_a_whole_cell_is_not_shifted(periods):
    shifted = shift(IMAGES[:1], periods[None].double(), torch.tensor([[0.3, 0.4]]))
    np.testing.assert_allclose(shifted, IMAGES[:1], rtol=0, atol=CLOSE)


def test_full_draws_shifts_over_the_whole_cell():
    x, y = np.meshgrid(np.arange(P) - (P - 1) / 2, (P - 1) / 2 - np.arange(P))
    image = torch.from_numpy(_crystal(x, y).astype(np.float32)).expand(60, -1, -1)
    seen = full(image, HEXAGONAL.expand(60, 2, 2) / P, _generator())
    assert len({one.numpy().tobytes() for one in seen}) > 55  # of 346 points of the cell in 8 orientations


def test_quarter_turn_is_exact():
    turned = turn(IMAGES, torch.full((64,), 0.25))
    np.testing.assert_allclose(turned, torch.rot90(IMAGES, 1, dims=(1, 2)), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("fraction", [-0.2, -0.05, 0.1])
def test_turned_wave_is_the_wave_at_the_turned_place(fraction):
    p = 48
    y, x = np.mgrid[:p, :p] - (p - 1) / 2

    def wave(x, y):
        return np.cos(2 * np.pi * x / 16) + np.sin(2 * np.pi * (x + y) / 40)

    angle = 2 * np.pi * fraction
    # y runs down: what was at (x cos - y sin, x sin + y cos) comes to (x, y) by a turn against the clock.
    expected = wave(np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y)
    image = torch.from_numpy(wave(x, y).astype(np.float32))
    turned = turn(image[None], torch.tensor([fraction]))[0].numpy()
    inside = np.hypot(x, y) < p / 2 - 2
    assert np.abs(turned - expected)[inside].max() < SMOOTH
    assert np.abs(image.numpy() - expected)[inside].max() > 10 * SMOOTH


def test_published_turns_by_no_more_than_a_fifth(monkeypatch):
    seen = []
    monkeypatch.setattr("rhoflow.models.augment.turn", lambda images, turns: seen.append(turns) or images)
    published(IMAGES.repeat(10, 1, 1), still(IMAGES.repeat(10, 1, 1)), _generator())
    assert seen[0].abs().max() <= LARGEST_TURN
    assert seen[0].min() < -0.9 * LARGEST_TURN
    assert seen[0].max() > 0.9 * LARGEST_TURN


def test_published_flips_each_way_half_of_the_time(monkeypatch):
    monkeypatch.setattr("rhoflow.models.augment.turn", lambda images, turns: images)
    image = IMAGES[:1].expand(400, -1, -1)
    seen = [one.numpy().tobytes() for one in published(image, still(image), _generator())]
    for dims in ((), (0,), (1,), (0, 1)):
        assert 70 < seen.count(IMAGES[0].flip(dims).contiguous().numpy().tobytes()) < 130  # 100 +- 8.7


@every_kind
def test_a_constant_image_stays(kind):
    images = torch.full((5, 8, 8), 0.3)
    np.testing.assert_allclose(AUGMENTATIONS[kind](images, still(images), _generator()), images, rtol=0, atol=CLOSE)


@every_kind
def test_seed_decides_and_the_global_state_does_not(kind):
    before = torch.get_rng_state()
    one, again, other = (AUGMENTATIONS[kind](IMAGES, still(IMAGES), _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@every_kind
def test_planes_of_an_image_change_alike_and_as_one_plane_does(kind):
    planes = torch.stack([IMAGES, 2 * IMAGES, -IMAGES], dim=1)
    changed = AUGMENTATIONS[kind](planes, still(planes), _generator(4))
    alone = AUGMENTATIONS[kind](IMAGES, still(IMAGES), _generator(4))
    assert changed.shape == (64, 3, 8, 8)
    np.testing.assert_allclose(changed, torch.stack([alone, 2 * alone, -alone], dim=1), rtol=0, atol=CLOSE)


@every_kind
def test_images_are_left_as_they_are(kind):
    before = IMAGES.clone()
    assert AUGMENTATIONS[kind](IMAGES, still(IMAGES), _generator()).shape == IMAGES.shape
    assert torch.equal(IMAGES, before)


def test_backbone_without_augmentation_gives_the_batch_back():
    backbone = image_backbone(ImageModel(backbone="timm:test_efficientnet", weights="random"))
    batch = {"images": IMAGES}
    assert backbone.augmented(batch, _generator()) is batch


@every_kind
def test_backbone_augments_its_images_and_nothing_else(kind):
    backbone = image_backbone(ImageModel(backbone="timm:test_efficientnet", weights="random", augment=kind))
    batch = {"images": IMAGES, "periods": still(IMAGES), "input_ids": torch.arange(3)}
    augmented = backbone.augmented(batch, _generator())
    assert torch.equal(augmented["images"], AUGMENTATIONS[kind](IMAGES, still(IMAGES), _generator()))
    assert augmented["input_ids"] is batch["input_ids"]


def test_off_in_a_yaml_file_means_none():
    """YAML reads a bare off as false."""
    assert ImageModel(augment=False).augment == "none"
