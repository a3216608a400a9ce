"""The configuration of a whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
from recon3d_core import config
from recon3d_core.config import option, Options, PluginSection
from recon3d_core.mapping.options import OccupancyGridOptions


class MeshOptions(Options):
    """How often meshes are made."""

    rate_hz: float = option(
        1.0,
        'How often an object that got new views is meshed again, in the time of the frames.',
        unit='Hz',
        ge=0.05,
        le=30.0,
        live=True,
    )


class SelfCheckOptions(Options):
    """The comparison of each object with the views that made it."""

    views: int = option(
        4, 'How many views of an object are kept to check it against.', ge=1, le=32, live=True
    )
    min_silhouette_iou: float = option(
        0.5,
        'Below this overlap of rendered and seen masks, only the seen surface is published.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    max_depth_residual_m: float = option(
        0.02,
        'Above this median depth error, only the seen surface is published.',
        unit='m',
        ge=0.0,
        le=1.0,
        live=True,
    )


class ObjectOptions(Options):
    """Bounds of an object's volume."""

    resolution: int = option(
        48,
        'Voxels along the longest edge of an object; small ones are limited by the voxel size.',
        ge=16,
        le=128,
    )
    min_voxel_size_m: float = option(
        0.003, 'Smallest voxel of an object.', unit='m', ge=0.0005, le=0.1
    )
    max_voxel_size_m: float = option(
        0.03, 'Largest voxel of an object.', unit='m', ge=0.001, le=0.5
    )
    min_views: int = option(
        2, 'An object is published when it was seen this often.', ge=1, le=100, live=True
    )


class AlignmentOptions(Options):
    """Correction of each view's pose against the object."""

    enabled: bool = option(
        True, 'Whether views are aligned to the object before they are fused.', live=True
    )
    max_shift_m: float = option(
        0.04, 'Largest correction of the position; 0.25 m from the object it turns 9 degrees.',
        unit='m', ge=0.0, le=0.5, live=True,
    )  # fmt: skip
    max_misfit_m: float = option(
        0.008, 'A view whose median distance from a side that is known well stays larger is left '
        'out, as its pose must be wrong.', unit='m', ge=0.001, le=0.5, live=True,
    )  # fmt: skip
    min_gain: float = option(
        0.25, 'Part by which the median distance to the object must fall.', ge=0.0, le=1.0,
        live=True,
    )  # fmt: skip


class RefinementOptions(Options):
    """Correction of new estimates by their views, their support and each other."""

    enabled: bool = option(False, 'Whether objects are refined after they were meshed.', live=True)
    budget_ms: float = option(
        100.0,
        'Time for it per update where `budget_ms` bounds the work on objects; without that all '
        'of it is done, so that the result does not depend on the machine.',
        unit='ms', ge=0.0, le=10000.0, live=True,
    )  # fmt: skip
    max_shift_m: float = option(
        0.005, 'Largest median way of the seen surface of an object that depth measured.',
        unit='m', ge=0.0, le=0.1, live=True,
    )  # fmt: skip
    min_gain: float = option(
        0.03, 'Part by which a motion must lower the sum of all residuals.', ge=0.0, le=1.0,
        live=True,
    )  # fmt: skip
    looks_to_merge: int = option(
        2, 'Updates in a row in which two objects claim mostly the same, after which they are one.',
        ge=1, le=1000, live=True,
    )  # fmt: skip


DEFAULT_PLUGINS = {
    'mapper': 'tsdf',
    'detector': 'depth_cluster',
    'tracker': 'spatial',
    'reconstructor': 'tsdf_object',
    'mesher': 'closed',
}


class PipelineConfig(Options):
    """Options of a pipeline: one section per plugin, and those of the pipeline itself."""

    mapper: PluginSection
    detector: PluginSection
    tracker: PluginSection
    reconstructor: PluginSection
    mesher: PluginSection
    device: str = option(
        'auto',
        'Where to compute: `auto` takes a GPU where there is one.',
        pattern='^(auto|cpu|cuda(:[0-9]+)?)$',
    )
    budget_ms: float = option(
        0.0,
        'Time for object work per frame; what is left over waits for the next frame. '
        '0 = no limit, which makes the result independent of the machine.',
        unit='ms',
        ge=0.0,
        le=10000.0,
        live=True,
    )
    fallback_reconstructors: list[str] = option(
        ['visual_hull'],
        'Reconstructors to take, in this order, where inputs of the chosen one go missing.',
    )
    fallback_detectors: list[str] = option(
        ['depth_cluster'],
        'Detectors to take, in this order, where the chosen one lacks inputs or fails.',
    )
    map_scene: bool = option(True, 'Whether the surface of the whole scene is mapped.', live=True)
    find_objects: bool = option(True, 'Whether objects are found and reconstructed.', live=True)
    mesh: MeshOptions = MeshOptions()
    objects: ObjectOptions = ObjectOptions()
    self_check: SelfCheckOptions = SelfCheckOptions()
    alignment: AlignmentOptions = AlignmentOptions()
    refinement: RefinementOptions = RefinementOptions()
    occupancy_grid: OccupancyGridOptions = OccupancyGridOptions()

    @pydantic.model_validator(mode='before')
    @classmethod
    def _resolve_plugins(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            values = dict(values)
            for kind, default in DEFAULT_PLUGINS.items():
                values[kind] = config.resolve_section(kind, values.get(kind, {}), default)
        return values


def load_config(
    name: str = 'tabletop_rgbd', overrides: Mapping[str, Any] | None = None
) -> PipelineConfig:
    """Return the configuration of a name or file, with overrides.

    Args:
        name: A name in `config/` or a path of a YAML file.
        overrides: Nested values that replace the file's.

    Raises:
        ConfigError: An option is unknown, of the wrong type or out of range.
    """
    values = config.read_yaml(config.find_config(name))
    merged = config.merge(values, overrides or {})
    result: PipelineConfig = config.validate(PipelineConfig, merged)
    return result
