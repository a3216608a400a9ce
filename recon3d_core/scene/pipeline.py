"""The pipeline: frames in, a scene of objects out; one frame's way, without turning back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
import logging
from pathlib import Path
import time
from typing import Any

import numpy as np
from recon3d_core import config as configuration
from recon3d_core import registry
from recon3d_core.errors import ConfigError, FrameError, InputError, WeightsError
from recon3d_core.geometry.regions import Box
from recon3d_core.interfaces import Reconstructor
from recon3d_core.mapping.occupancy import build_occupancy_grid
from recon3d_core.scene.detecting import Detecting
from recon3d_core.scene.devices import resolve_device
from recon3d_core.scene.objects import is_unsettled, ObjectState
from recon3d_core.scene.options import load_config, PipelineConfig
from recon3d_core.scene.output import Output
from recon3d_core.scene.relations import Relation, relations
from recon3d_core.scene.timings import Timings
from recon3d_core.scene.work import AT_ONCE_HZ, ObjectWork
from recon3d_core.types import (
    Detections,
    Frame,
    ObjectEstimate,
    Plane,
    Scene,
    SceneUpdate,
    View,
)

logger = logging.getLogger(__name__)


class Pipeline:
    """Turns frames into a scene: its surface, and every object's closed mesh and pose.

    Not thread-safe: one thread calls `update`, `scene` and the rest.

    Attributes:
        config: The options; change live ones with `set_option`.
        device: Where it computes, `cpu` or `cuda:N`.
        dropped: Frames that were refused, by reason.
    """

    def __init__(self, config: PipelineConfig | None = None) -> None:
        """Load the plugins of a configuration, the default one where None.

        Raises:
            PluginError: A plugin cannot be loaded.
            ConfigError: The device does not exist.
        """
        self.config = load_config() if config is None else config
        self.device = resolve_device(self.config.device)
        self.mapper = self._make('mapper')
        self._lacking: list[str] = []
        detectors = self._make_chain('detector')
        self.detector = detectors[0]
        self._detecting = Detecting(detectors)
        self.tracker = self._make('tracker')
        self.mesher = self._make('mesher')
        self.reconstructors = self._make_chain('reconstructor')
        self.timings = Timings()
        self._fallback: str | None = None
        self._begin()

    @classmethod
    def from_config(cls, name: str, overrides: Mapping[str, Any] | None = None) -> Pipeline:
        """Return the pipeline of a named configuration or a YAML file.

        Args:
            name: A name in `config/`, or a path.
            overrides: Nested options that replace the file's.
        """
        return cls(load_config(name, overrides))

    def _make(self, section: str) -> Any:
        chosen = getattr(self.config, section)
        return registry.load(chosen.kind, chosen.plugin)(chosen.config, self.device)

    def _make_chain(self, kind: str) -> list[Any]:
        """Return what was configured and its fallbacks, in order.

        One whose weights this package lacks is left out, where another one remains.
        """
        section = getattr(self.config, kind)
        options = {section.plugin: section.config}
        options |= {
            name: None
            for name in getattr(self.config, f'fallback_{kind}s')
            if name != section.plugin
        }
        made, errors = {}, []
        for name, chosen in options.items():
            try:
                made[name] = registry.load(kind, name)(chosen, self.device)
            except WeightsError as error:
                errors.append(error)
        if not made:
            raise errors[0]
        first = next(iter(made))
        if first != section.plugin:
            self._lacking.append(f'{kind} {first} instead of {section.plugin}: {errors[0]}')
            logger.warning('%s', self._lacking[-1])
        return list(made.values())

    @property
    def fallback(self) -> str | None:
        """What is used instead of what was configured and why, or None."""
        notes = [*self._lacking, *([self._fallback] if self._fallback else [])]
        return '; '.join(notes) or None

    def _begin(self) -> None:
        self._objects = ObjectWork(
            self.config, self.tracker, self.mesher, self._choose_reconstructor, self.timings
        )
        self._planes: tuple[Plane, ...] = ()
        self._inputs: frozenset[str] = frozenset()
        self._stamp_ns = 0
        self._put_off = False
        self._up = np.array([0.0, 0.0, 1.0])
        self._up_is_known = False
        self.dropped: Counter[str] = Counter()
        self.frames_read = 0
        self.frames_integrated = 0

    def reset(self) -> None:
        """Forget everything that was seen; ids of objects go on."""
        self.mapper.reset()
        self._detecting.reset()
        self.tracker.reset()
        self._begin()

    def close(self) -> None:
        """Give memory back; the pipeline is not used after that."""
        self.reset()
        for reconstructor in self.reconstructors:
            reconstructor.close()

    def set_option(self, path: str, value: Any) -> None:
        """Change a live option while running.

        Args:
            path: Dotted name, such as `mesh.rate_hz`.
            value: New value.

        Raises:
            ConfigError: No such option, not live, or out of range.
        """
        known = {info.path: info for info in configuration.describe(self.config)}
        if path not in known:
            raise ConfigError('unknown option', path, fix=registry.closest(path, list(known)))
        if not known[path].live:
            raise ConfigError(f'option {path} is fixed while running', fix='Restart to change it.')
        *sections, name = path.split('.')
        owner: Any = self.config
        for section in sections:
            owner = getattr(owner, section)
            owner = getattr(owner, 'config', owner)
        configuration.assign(owner, name, value, path)

    def update(self, frame: Frame, *, objects: bool = True) -> SceneUpdate:
        """Take one frame in.

        Args:
            frame: The frame.
            objects: Whether objects are looked for and worked on; without, the frame is only
                mapped, which lets a stream that is faster than this machine be kept up with.

        Raises:
            FrameError: The frame is unusable; it was counted and changed nothing.
        """
        index, self.frames_read = self.frames_read, self.frames_read + 1
        try:
            return self._update(frame.checked(), index, objects)
        except FrameError as error:
            self.dropped[error.reason] += 1
            raise
        except Exception:
            self.dropped['internal_error'] += 1
            raise

    def _update(self, frame: Frame, index: int, objects: bool) -> SceneUpdate:
        deadline = self._deadline(self.config.budget_ms)
        frame.pose  # noqa: B018 - raises: nothing can be placed without it
        integrated = self._integrate(frame)
        self._stamp_ns, self._inputs = frame.stamp_ns, frame.inputs
        self._note_up(frame)
        removed: list[int] = []
        detections = self._detect(frame) if objects else None
        if detections is not None:
            removed = self._objects.track(frame, detections)
        changed: list[ObjectEstimate] = []
        if objects:
            self._objects.observe(deadline, self._up)
            # Looking and meshing in one go would keep the next frames waiting for too long; but
            # not twice in a row, or where every look is late nothing would ever be meshed.
            late = deadline is not None and time.perf_counter() > deadline
            self._put_off = late and detections is not None and not self._put_off
            changed = [] if self._put_off else self._mesh(deadline, self.config.mesh.rate_hz)
        self.frames_integrated += integrated
        removed += self._objects.take_joined()
        return SceneUpdate(
            stamp_ns=frame.stamp_ns,
            frame_index=index,
            integrated=integrated,
            detections=detections,
            changed=tuple(changed),
            removed=tuple(removed),
            timings_ms=self.timings.end_frame(),
            notes=(self.fallback,) if self.fallback else (),
        )

    def flush(self, budget_ms: float = 0.0) -> list[ObjectEstimate]:
        """Finish waiting work, as at the end of a recording; return what changed.

        Args:
            budget_ms: Time for it, of which one step may take more; 0 = all of the work.
        """
        deadline = self._deadline(budget_ms)
        self._objects.observe(deadline, self._up)
        return self._mesh(deadline, AT_ONCE_HZ)

    @property
    def unfinished(self) -> bool:
        """Whether `flush` would find something to do."""
        return self._objects.is_unfinished(self._stamp_ns)

    @property
    def best_frame(self) -> Frame | None:
        """The frame that shows most objects, for previews; or None."""
        return self._objects.best_frame

    def _mesh(self, deadline: float | None, rate_hz: float) -> list[ObjectEstimate]:
        return self._objects.mesh(self._stamp_ns, rate_hz, deadline, self._up)

    def _deadline(self, budget_ms: float) -> float | None:
        return time.perf_counter() + 1e-3 * budget_ms if budget_ms > 0 else None

    def _integrate(self, frame: Frame) -> bool:
        if not self.config.map_scene or not self.mapper.needs <= frame.inputs:
            return False
        with self.timings.stage('integrate'):
            self.mapper.integrate(frame)
        return True

    def _detect(self, frame: Frame) -> Detections | None:
        """Run the detector where it is due and the frame has what it needs."""
        if not self.config.find_objects:
            return None
        if not self._detecting.is_due(frame):
            return None
        with self.timings.stage('detect'):
            detections = self._detecting.detect(frame)
        if self._detecting.note:
            self._note(self._detecting.note)
        else:
            self._note_end('no new objects', 'detector')
        if detections is None:
            return None
        if detections.planes:
            self._planes = detections.planes
            if not self._up_is_known:
                self._up, self._up_is_known = self._planes[0].normal_world, True
        return detections

    def _note_up(self, frame: Frame) -> None:
        """Note where up is; without gravity the first support tells, until then the image."""
        if frame.gravity_world is not None:
            self._up, self._up_is_known = -frame.gravity_world, True
        elif not self._up_is_known:
            self._up = -frame.pose[:3, 1]

    def _note(self, note: str | None) -> None:
        """Remember, and log once, that something is used instead of what was configured."""
        if note != self._fallback:
            self._fallback = note
            logger.warning('%s', note or 'all inputs are back')

    def _note_end(self, *beginnings: str) -> None:
        """Forget a note that begins so."""
        if self._fallback and self._fallback.startswith(beginnings):
            self._note(None)

    def _choose_reconstructor(self, known: ObjectState | None) -> Reconstructor:
        """Return the first reconstructor of the chain whose inputs are there.

        A known object keeps what it has while an input is missing, and takes what is earlier in
        the chain when it is back: with depth, an object of outlines becomes a measured one.
        """
        present = self._inputs | {'mask'}
        chain = self.reconstructors if known is None else self._up_to(known.reconstructor)
        chosen = next((r for r in chain if r.needs <= present), chain[0 if known is None else -1])
        if known is None and chosen is not chain[0]:
            missing = ', '.join(sorted(chain[0].needs - present))
            self._note(f'reconstructor {chosen.name} instead of {chain[0].name}: no {missing}')
        elif self.reconstructors[0].needs <= present:
            self._note_end('reconstructor')
        return chosen

    def _up_to(self, reconstructor: Reconstructor) -> list[Reconstructor]:
        return self.reconstructors[: self.reconstructors.index(reconstructor) + 1]

    def scene(
        self, *, mesh: bool = False, cloud: bool = False, occupancy_grid: bool = False
    ) -> Scene:
        """Return everything that is known now.

        Args:
            mesh: Whether to extract the scene's surface as a mesh.
            cloud: Whether to extract it as points.
            occupancy_grid: Whether to make the map for navigation.
        """
        objects = dict(self._objects.estimates())
        points = self.mapper.cloud() if cloud or occupancy_grid else None
        grid = None
        if occupancy_grid and points is not None and len(points.points_m):
            grid = build_occupancy_grid(
                points.points_m, objects.values(), self._up, self.config.occupancy_grid
            )
        return Scene(
            stamp_ns=self._stamp_ns,
            objects=objects,
            mesh=self.mapper.mesh() if mesh else None,
            cloud=points if cloud else None,
            planes=self._planes,
            occupancy_grid=grid,
        )

    def stats(self) -> dict[str, float]:
        """Return numbers for diagnostics."""
        return {
            'frames_read': self.frames_read,
            'frames_integrated': self.frames_integrated,
            'tracks': self._objects.tracks,
            'objects': len(self._objects.estimates()),
            'objects_unsettled': sum(map(is_unsettled, self._objects.estimates().values())),
            'waiting_views': self._objects.waiting_views,
            **{f'mapper.{name}': value for name, value in self.mapper.stats().items()},
        }

    def kept_views(self) -> dict[int, list[View]]:
        """Return the views that each object is checked against, by id."""
        return self._objects.kept_views()

    def relations(self) -> list[Relation]:
        """Return what stands on, lies in and touches what."""
        return relations(self._objects.estimates(), self._planes)

    def clear_box(self, box: Box) -> list[int]:
        """Forget the surface inside a box, and the objects whose centre is in it.

        Returns:
            Ids of the published objects that are gone.

        Raises:
            PluginError: The mapper or the tracker cannot forget a part.
        """
        self.mapper.clear_box(box)
        return self._objects.clear_box(box)

    def clear_object(self, object_id: int) -> None:
        """Forget a published object, and the surface inside its box.

        Raises:
            InputError: There is no such object.
            PluginError: The mapper or the tracker cannot forget a part.
        """
        objects = self.scene().objects
        if object_id not in objects:
            raise InputError('no such object', object_id, f'one of {sorted(objects)}')
        self.mapper.clear_box(Box(objects[object_id].T_world_object, objects[object_id].size_m))
        self._objects.forget({object_id})

    def save_map(self, path: Path) -> None:
        """Write the surface to a file; any thread may do so while another updates.

        Raises:
            RunError: It cannot be written.
        """
        self.mapper.save(path)

    def load_map(self, path: Path) -> None:
        """Take the surface from a file; any thread may do so while another updates.

        The surface so far is forgotten, the objects stay. The file does not say in which frame it
        is: that is the one of the poses when it was saved.

        Raises:
            InputError: It is no saved map, or one with other voxels.
        """
        self.mapper.load(path)

    def save(self, directory: Path, dropped: Mapping[str, int] | None = None) -> dict[str, Any]:
        """Write the scene's files into a folder and return the summary (docs/outputs.md).

        Args:
            directory: Folder, made where it is missing.
            dropped: Frames that never came here, by reason; added to those refused here.

        Raises:
            OSError: The folder cannot be written.
        """
        return self.output(dropped).write(directory)

    def output(self, dropped: Mapping[str, int] | None = None) -> Output:
        """Return what `save` writes, as it is now; any thread may write it later.

        Args:
            dropped: As for `save`.
        """
        frames = {
            'read': self.frames_read + sum((dropped or {}).values()),
            'integrated': self.frames_integrated,
            'dropped': dict(self.dropped + Counter(dropped or {})),
        }
        scene = self.scene(mesh=True, cloud=True)
        times = self.timings.quantiles()
        return Output(scene, frames, times, self.device, self.best_frame)
