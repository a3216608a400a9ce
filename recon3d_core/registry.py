"""The lazy plugin registry: names are known at once, code is imported when it is used.

Plugins come from three places: the built-ins below (they work from a plain checkout), the
entry-point groups `recon3d.<kind>` of installed packages, and the environment variable
`RECON3D_PLUGINS="kind:name=module:attr,..."` while developing.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
from importlib import metadata
import logging
import os
from typing import Any

from recon3d_core.errors import PluginError, UnknownPluginError

logger = logging.getLogger(__name__)

KINDS = (
    'detector',
    'tracker',
    'reconstructor',
    'mapper',
    'mesher',
    'source',
    'sink',
    'pose_source',
    'model',
    'segmenter',
    'completer',
    'parser',
    'dataset',
)

BUILTINS: dict[str, dict[str, str]] = {
    'detector': {
        'centermask': 'recon3d_core.detection.centermask:CenterMaskDetector',
        'depth_cluster': 'recon3d_core.detection.depth_cluster:DepthClusterDetector',
        'foreground': 'recon3d_core.detection.foreground:ForegroundDetector',
        'frame_masks': 'recon3d_core.detection.frame_masks:FrameMasksDetector',
        'onnx': 'recon3d_core.detection.adapters.onnx:OnnxDetector',
        'topic': 'recon3d_ros.topic_detector:TopicDetector',
        'torchvision': 'recon3d_core.detection.adapters.torchvision:TorchvisionDetector',
        'transformers': 'recon3d_core.detection.adapters.transformers:TransformersDetector',
        'voting': 'recon3d_core.detection.voting:VotingDetector',
    },
    'tracker': {
        'cones': 'recon3d_core.tracking.cones:ConesTracker',
        'spatial': 'recon3d_core.tracking.spatial:SpatialTracker',
    },
    'reconstructor': {
        'factored3d': 'recon3d_core.fusion.factored3d:Factored3dReconstructor',
        'im2cad': 'recon3d_core.fusion.im2cad:Im2CadReconstructor',
        'pix2vox': 'recon3d_core.fusion.canonical:Pix2VoxReconstructor',
        'point_completion': 'recon3d_core.fusion.point_completion:PointCompletionReconstructor',
        'posed_fusion': 'recon3d_core.fusion.posed_fusion:PosedFusionReconstructor',
        'r2n2': 'recon3d_core.fusion.canonical:R2N2Reconstructor',
        'tsdf_completion': 'recon3d_core.fusion.tsdf_completion:TsdfCompletionReconstructor',
        'tsdf_object': 'recon3d_core.fusion.tsdf_object:TsdfObjectReconstructor',
        'visual_hull': 'recon3d_core.fusion.visual_hull:VisualHullReconstructor',
    },
    'mapper': {
        'room_layout': 'recon3d_core.mapping.room_layout:RoomLayoutMapper',
        'tsdf': 'recon3d_core.mapping.tsdf:TsdfMapper',
    },
    'mesher': {'closed': 'recon3d_core.meshing.closed:ClosedMesher'},
    'source': {
        'rgbd_folder': 'recon3d_core.data.rgbd_folder:RgbdFolderSource',
        'rosbag': 'recon3d_core.data.rosbag:RosbagSource',
        'scenes': 'recon3d_core.data.scene_sweeps:SceneSweepSource',
        'synthetic': 'recon3d_core.data.synthetic:SyntheticSource',
    },
    'sink': {
        'collision_objects': 'recon3d_ros.sinks.collision_objects:CollisionObjects',
        'detections3d': 'recon3d_ros.sinks.detections3d:Detections3d',
        'next_views': 'recon3d_ros.sinks.next_views:NextViews',
        'object_markers': 'recon3d_ros.sinks.object_markers:ObjectMarkers',
        'object_points': 'recon3d_ros.sinks.objects:ObjectPoints',
        'object_poses': 'recon3d_ros.sinks.objects:ObjectPoses',
        'occupancy_grid': 'recon3d_ros.sinks.scene:OccupancyGridSink',
        'recognized_objects': 'recon3d_ros.sinks.recognized_objects:RecognizedObjects',
        'scene_mesh': 'recon3d_ros.sinks.scene:SceneMesh',
        'scene_points': 'recon3d_ros.sinks.scene:ScenePoints',
        'viewer': 'recon3d_ros.sinks.viewer:Viewer',
    },
    'pose_source': {
        'odometry': 'recon3d_ros.pose_sources.by_topic:OdometryPoseSource',
        'pose': 'recon3d_ros.pose_sources.by_topic:PosePoseSource',
        'static': 'recon3d_ros.pose_sources.static:StaticPoseSource',
        'tf': 'recon3d_ros.pose_sources.tf:TfPoseSource',
    },
    'model': {
        'pix2vox_a': 'recon3d_core.models.pix2vox.model:Pix2VoxA',
        'pix2vox_f': 'recon3d_core.models.pix2vox.model:Pix2VoxF',
        'pix2vox_s': 'recon3d_core.models.pix2vox.small:Pix2VoxS',
        'pix2voxpp_a': 'recon3d_core.models.pix2voxpp.model:Pix2VoxPPA',
        'pix2voxpp_f': 'recon3d_core.models.pix2voxpp.model:Pix2VoxPPF',
        'r2n2_gru': 'recon3d_core.models.r2n2.model:R2N2Gru',
        'r2n2_lstm': 'recon3d_core.models.r2n2.model:R2N2Lstm',
        'r2n2_s': 'recon3d_core.models.r2n2.small:R2N2S',
        'posed_fusion': 'recon3d_core.models.posed_fusion.model:PosedFusion',
        'mean_shape': 'recon3d_core.models.baselines.remembered:MeanShape',
        'retrieval': 'recon3d_core.models.baselines.remembered:Retrieval',
        'oracle_retrieval': 'recon3d_core.models.baselines.remembered:OracleRetrieval',
        'visual_hull': 'recon3d_core.models.baselines.hulls:VisualHull',
        'convex_hull': 'recon3d_core.models.baselines.hulls:ConvexHull',
    },
    'segmenter': {'centermask': 'recon3d_core.models.centermask.model:CenterMask'},
    'completer': {
        'point_completion': 'recon3d_core.models.point_completion.model:PointCompletion',
        'tsdf_completion': 'recon3d_core.models.tsdf_completion.model:TsdfCompletion',
    },
    'parser': {'factored3d': 'recon3d_core.models.factored3d.model:Factored3d'},
    'dataset': {
        'household': 'recon3d_core.data.sets.household:HouseholdSet',
        'pack': 'recon3d_core.data.sets.packed:PackSet',
        'parses': 'recon3d_core.data.sets.parses:ParsesSet',
        'partial': 'recon3d_core.data.sets.partial:PartialSet',
        'partial_points': 'recon3d_core.data.sets.partial_points:PartialPointsSet',
        'pix3d': 'recon3d_core.data.sets.pix3d:Pix3dSet',
        'procedural': 'recon3d_core.data.sets.procedural:ProceduralSet',
        'r2n2': 'recon3d_core.data.sets.r2n2:R2n2Set',
        'scenes': 'recon3d_core.data.sets.scenes:ScenesSet',
    },
}


@dataclasses.dataclass(frozen=True)
class PluginEntry:
    """One known plugin.

    Attributes:
        kind: One of `KINDS`.
        name: Name by which a configuration chooses it.
        target: `module:attribute`.
        origin: `built-in`, `environment`, or the name of the package that brings it.
    """

    kind: str
    name: str
    target: str
    origin: str


def _environment_entries(environment: str) -> list[PluginEntry]:
    found = []
    for item in filter(None, environment.split(',')):
        key, separator, target = item.strip().partition('=')
        kind, colon, name = key.partition(':')
        if not (separator and colon and ':' in target and kind in KINDS):
            raise PluginError(
                'RECON3D_PLUGINS has an item of the wrong form',
                repr(item),
                f'kind:name=module:attribute with a kind of {", ".join(KINDS)}',
            )
        found.append(PluginEntry(kind, name, target, 'environment'))
    return found


def _installed_entries() -> list[PluginEntry]:
    found = []
    installed = metadata.entry_points()  # once: it reads the metadata of every package
    for kind in KINDS:
        for point in installed.select(group=f'recon3d.{kind}'):
            package = point.dist.name if point.dist else 'unknown package'
            found.append(PluginEntry(kind, point.name, point.value, package))
    return found


@functools.lru_cache(maxsize=4)
def _table(environment: str) -> dict[tuple[str, str], PluginEntry]:
    table: dict[tuple[str, str], PluginEntry] = {}
    builtins = [
        PluginEntry(kind, name, target, 'built-in')
        for kind, named in BUILTINS.items()
        for name, target in named.items()
    ]
    for entry in builtins + _installed_entries() + _environment_entries(environment):
        other = table.setdefault((entry.kind, entry.name), entry)
        if other != entry:
            raise PluginError(
                f'two {entry.kind} plugins are named {entry.name!r}',
                f'{other.target} ({other.origin}) and {entry.target} ({entry.origin})',
                fix='Rename one of them or uninstall its package.',
            )
    return table


def entries(kind: str | None = None) -> list[PluginEntry]:
    """Return every known plugin, of one kind or of all, without importing any."""
    table = _table(os.environ.get('RECON3D_PLUGINS', ''))
    return [entry for entry in table.values() if kind in (None, entry.kind)]


def names(kind: str) -> list[str]:
    """Return the sorted names of a kind's plugins."""
    return sorted(entry.name for entry in entries(kind))


def closest(word: str, known: list[str]) -> str:
    """Return the hint 'Did you mean X?' for a misspelt word, or an empty string."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'Did you mean {match[0]!r}?' if match else ''


def load(kind: str, name: str) -> Any:
    """Import and return the class of a plugin.

    Raises:
        UnknownPluginError: No such name; the message lists the known ones and the closest.
        PluginError: It is known but cannot be imported.
    """
    entry = next((entry for entry in entries(kind) if entry.name == name), None)
    if entry is None:
        known = names(kind)
        raise UnknownPluginError(
            f'unknown {kind}', repr(name), f'one of {", ".join(known)}', closest(name, known)
        )
    module, _, attribute = entry.target.partition(':')
    try:
        plugin = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a plugin's import may fail in any way
        raise PluginError(
            f'{kind} {name!r} from {entry.origin} cannot be loaded',
            f'{type(error).__name__}: {error}',
            fix='Install what it needs, or choose another; `recon3d plugins` lists all.',
        ) from error
    return plugin


def loadable(kind: str) -> dict[str, Any]:
    """Import every plugin of a kind, skipping with a warning those that cannot load."""
    found = {}
    for name in names(kind):
        try:
            found[name] = load(kind, name)
        except PluginError as error:
            logger.warning('%s', error)
    return found
