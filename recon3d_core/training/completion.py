"""Training of completion: IoU of what is combined with the evidence, at the best threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.partial.record import PartialSample
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply
from recon3d_core.models.base import Network
from recon3d_core.models.point_completion.model import PointCompletion
from recon3d_core.models.tsdf_completion.evidence import FREE, OBSERVED, SDF
from recon3d_core.models.tsdf_completion.model import TsdfCompletion
from recon3d_core.training.task import Task, Verdict
from recon3d_core.training.validation import choose_threshold, THRESHOLDS
from scipy import ndimage
from scipy.spatial import cKDTree
import torch
from torch import nn, Tensor

Completer = TsdfCompletion | PointCompletion
"""Networks from what is known of a cube to its probabilities."""

_SEEN_VOXELS = 2.5  # surface as near as that to an observed one was seen
_LOOKS = torch.tensor(  # from above and a side, x right and y down in the picture
    [[0.86, -0.5, 0.0], [-0.25, -0.43, -0.87], [0.43, 0.75, -0.5]]
)


class _Loss(nn.Module):
    """A network's loss as a module, so that it can be wrapped for several devices."""

    def __init__(self, network: TsdfCompletion) -> None:
        super().__init__()
        self.network = network

    def forward(self, evidence: Tensor, occupancy: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return self.network.loss(evidence, occupancy)


class CompletionTask(Task):
    """What was seen of an object to all of it."""

    @property
    def columns(self) -> list[str]:
        """Return a column for each number of views."""
        return [f'iou_{views}' for views in self.recipe.validation.views]

    def objective(self, network: Network) -> nn.Module:
        """Return the network's own loss."""
        assert isinstance(network, TsdfCompletion)
        return _Loss(network)

    def tensors(self, batch: Any) -> dict[str, Tensor]:
        """Return evidence and truth."""
        return {'evidence': batch.evidence, 'occupancy': batch.occupancy}

    def count_images(self, batch: Any) -> int:
        """Return the size of the batch: an image is an object's cube here."""
        return len(batch.names)

    def load(self, names: Sequence[str]) -> list[Any]:
        """Return each object after every number of views that the validation wants."""
        views = self.recipe.validation.views
        return [[self.data.sample(name, count) for count in views] for name in names]

    @torch.no_grad()
    def sums(self, network: Network, samples: Sequence[Any]) -> Tensor:
        """Return (views, thresholds) float64 sums of the IoU over objects."""
        assert isinstance(network, Completer)
        sums = torch.zeros(len(self.recipe.validation.views), len(THRESHOLDS), dtype=torch.float64)
        mode = network.training
        network.eval()
        for counts in samples:
            for row, sample in enumerate(counts):
                found = predict(network, sample).numpy()
                sums[row] += torch.tensor(
                    [iou_of(found > t, sample.occupancy, sample.outside) for t in THRESHOLDS]
                )
        network.train(mode)
        return sums

    def verdict(self, sums: Tensor, samples: int) -> Verdict:
        """Return the mean IoU at the best threshold."""
        return choose_threshold(sums, self.recipe.validation.views, samples)

    @torch.no_grad()
    def draw(self, path: Path, network: Network, samples: Sequence[Any], threshold: float) -> None:
        """Draw for the fewest and the most views what was seen, what is made of it, the truth."""
        from recon3d_core.training.pictures import write_png

        assert isinstance(network, Completer)
        mode = network.training
        network.eval()
        rows = [
            np.concatenate([tile for one in (counts[0], counts[-1])
                            for tile in tiles(one, predict(network, one), threshold)], 1)
            for counts in samples
        ]  # fmt: skip
        network.train(mode)
        write_png(path, np.concatenate(rows))


def predict(network: Completer, sample: PartialSample) -> Tensor:
    """Return the probabilities (N, N, N), on the CPU, of a network in `eval` mode."""
    evidence = sample.evidence()[None].to(network.device)
    return network.probabilities(evidence)[0].float().cpu()


def iou_of(inside: NDArray[np.bool_], truth: NDArray[np.bool_], outside: int) -> float:
    """Return the IoU; the voxels of the object outside of the cube count as missed."""
    common = int((inside & truth).sum())
    union = int((inside | truth).sum()) + outside
    return common / union if union else 1.0


def surface_places(solid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the voxels (n, 3) of a solid that have a neighbour outside."""
    inner = ndimage.binary_erosion(solid, border_value=0)
    return np.argwhere(solid & ~inner)


def unseen_chamfer(
    found: NDArray[np.bool_],
    truth: NDArray[np.int64],
    seen_world_m: NDArray[np.float64],
    cube: VoxelGrid,
) -> float | None:
    """Return the Chamfer distance of the surfaces that no camera saw, in millimetres.

    It is the mean of both mean distances: from the unseen true surface to all that was found, and
    from what was found and not seen to all of the true surface.

    Args:
        found: (N, N, N) what was found.
        truth: (n, 3) voxels of the true surface (`surface_places`).
        seen_world_m: (m, 3) observed surface.
        cube: The cube.

    Returns:
        None where all was seen.
    """
    places = surface_places(found)
    if not len(places):  # as if a point in the middle had been found
        places = np.full((1, 3), len(found) // 2)
    seen = apply(cube.T_grid_world, seen_world_m) / cube.voxel_size_m - 0.5
    means = []
    for some, others in ((truth, places), (places, truth)):
        unseen = some[cKDTree(seen).query(some)[0] > _SEEN_VOXELS]
        if len(unseen) and len(others):
            means.append(float(cKDTree(others).query(unseen)[0].mean()))
    return 1000 * cube.voxel_size_m * float(np.mean(means)) if means else None


def tiles(
    sample: PartialSample, found: Tensor, threshold: float, size: int = 128
) -> list[NDArray[np.uint8]]:
    """Return pictures (size, size, 3) of what was seen, of what was found, and of the truth."""
    from recon3d_core.training.pictures import render_volume

    evidence = sample.evidence()
    seen = (evidence[OBSERVED] > 0.5) & (evidence[SDF].abs() < 0.4) & (evidence[FREE] < 0.5)
    truth = torch.from_numpy(sample.occupancy).float()
    return [
        render_volume(volume, level, _LOOKS, size)
        for volume, level in ((seen.float(), 0.5), (found, threshold), (truth, 0.5))
    ]
